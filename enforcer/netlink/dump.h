#pragma once
// The kernel's table as a Program again, and whether it is the table that this version makes.
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "enforcer/netlink/objects.h"
#include "enforcer/netlink/socket.h"
#include "policy/program/program.h"
#include "policy/program/rule.h"

namespace podfence::netlink {

struct TableInfo {
  std::uint32_t flags = 0;             // NFT_TABLE_F_*
  std::optional<std::uint32_t> owner;  // port id of the socket that owns it
};

/// Our table, if there is one.
Result<std::optional<TableInfo>> find_table(Socket& socket);

/// What stands in that table, for its replacement by one with these flags.
Result<Contents> contents_of(Socket& socket, const TableInfo& table, std::uint32_t wanted_flags);

struct Dump {
  bool present = false;
  std::string damage;  // the first thing that is not as this version makes it; empty = intact
  program::Program program;
};

/// Streams every set of the table. A dump that the kernel interrupts is repeated; busy when that does not end.
Result<Dump> dump_table(Socket& socket);

/// Whether the set of our table has an element of that key, by asking for just that; of address ranges, whether one of
/// them holds the element's first address. False without a table.
Result<bool> has_element(Socket& socket, program::SetId set, const program::Element& element);

struct CounterValue {
  std::uint64_t packets = 0;
  std::uint64_t bytes = 0;
};
/// Of that table of the inet family; none where there is no such table.
Result<std::map<std::string, CounterValue>> dump_counters(Socket& socket, std::string_view table = program::table_name);

/// What the tally of that direction (program::tally_of) has counted, by number; nothing where there is no table.
Result<std::map<program::ClassId, CounterValue>> dump_tally(Socket& socket, net::Direction direction);

}  // namespace podfence::netlink
