#pragma once
// Messages about a table of the inet family and what is in it, into a batch.
#include <cstdint>
#include <string>

#include "enforcer/netlink/batch.h"
#include "enforcer/netlink/objects.h"
#include "policy/program/rule.h"

namespace podfence::netlink {

class TableWriter {
 public:
  /// `must_be_new`: what is there already is an error; otherwise it is kept. The batch outlives it.
  TableWriter(Batch& batch, std::string table, bool must_be_new);

  void put_table(std::uint32_t flags);
  void delete_table();
  void put_counter(const std::string& name);
  /// `id`: of the set within the batch.
  void put_set(const SetSpec& spec, std::uint32_t id);
  /// A base chain is at forward, with the policy accept.
  void put_chain(const program::Chain& chain, std::int32_t priority);
  void delete_chain(const std::string& chain);
  void put_rule(const std::string& chain, const program::Rule& rule);
  void flush_rules(const std::string& chain);
  void flush_set(const std::string& set);
  void delete_set(const std::string& set);
  void delete_counter(const std::string& name);
  /// Of a set whose key is one number in the host's order.
  void delete_element(const std::string& set, std::uint32_t key);

 private:
  /// The attributes (NFTA_*) of a message that hold the table's name and the thing's.
  struct Place {
    std::uint16_t table;
    std::uint16_t name;
  };
  nlmsghdr* start_removal(std::uint16_t type, Place place, const std::string& name);

  Batch& batch_;
  std::string table_;
  std::uint16_t create_;  // flags of a message
};

}  // namespace podfence::netlink
