#pragma once
// Tells one table from the next of the same name: counters begin at 0 in each.
#include <optional>
#include <string>

#include "enforcer/netlink/socket.h"

namespace podfence::flow {

class TableEpoch {
 public:
  explicit TableEpoch(std::string table);

  /// "boot:namespace:handle" of table inet NAME; empty when it cannot be told.
  std::string read();

 private:
  std::string table_;
  std::string place_;  // boot and network namespace
  std::optional<netlink::Socket> socket_;
};

}  // namespace podfence::flow
