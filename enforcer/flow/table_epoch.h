#pragma once
// Tells one table from the next of the same name: counters begin at 0 in each.
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "enforcer/netlink/socket.h"

namespace podfence::flow {

class TableEpoch {
 public:
  explicit TableEpoch(std::string table);

  /// "boot:namespace:handle" of table inet NAME; empty when it cannot be told.
  std::string read();
  /// Whether the kernel says that there is no such table.
  bool absent();

 private:
  /// What the kernel answers; nothing when it does not.
  std::optional<std::vector<std::byte>> ask();

  std::string table_;
  std::string place_;  // boot and network namespace
  std::optional<netlink::Socket> socket_;
};

}  // namespace podfence::flow
