#pragma once
// Table `inet podfence_observe` (policy/program/observe.h) in the kernel. While nothing is observed it has no base
// chain, so no packet sees it; its counters stay, because they are a part of the account of allowed flows.
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "enforcer/netlink/batch.h"
#include "enforcer/netlink/socket.h"
#include "policy/net/ip.h"
#include "policy/program/observe.h"

namespace podfence::observe {

class ObserveTable {
 public:
  static Result<ObserveTable> open(const program::ObserveOptions& options);

  /// From now on flows of these addresses, sorted, and no others. One transaction; makes what is not there, and takes
  /// over what an earlier agent left. Counters go on.
  Result<> set(const std::vector<net::IpAddr>& addresses);

  /// The first thing in the kernel that is not as set() would have made it; empty when all is. What is there besides is
  /// nobody's business.
  Result<std::string> damage(const std::vector<net::IpAddr>& addresses);

  /// Packets by counter; empty when there is no table.
  Result<std::map<std::string, std::uint64_t>> counters();

  /// Deletes the table, if there is one.
  Result<> purge();

 private:
  ObserveTable(netlink::Socket socket, const program::ObserveOptions& options)
      : socket_(std::move(socket)), options_(options) {}
  void encode(const std::vector<net::IpAddr>& addresses);
  Result<> send();

  netlink::Socket socket_;
  netlink::Batch batch_;
  program::ObserveOptions options_;
};

}  // namespace podfence::observe
