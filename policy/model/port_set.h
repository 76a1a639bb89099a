#pragma once
// Which ports of which protocols are admitted, in one canonical form: two sets that admit the same are equal.
#include <bitset>
#include <compare>
#include <vector>

#include "policy/net/protocol.h"

namespace podfence::model {

struct ProtocolPorts {
  net::Protocol protocol;
  net::PortRange ports;
  friend auto operator<=>(const ProtocolPorts&, const ProtocolPorts&) = default;
};

/// With `any` the rest is empty; a protocol that is admitted whole has no ranges; ranges are sorted, disjoint, merged
/// where they touch, and never hold port 0 (conformance T-30).
struct PortSet {
  bool any = false;                      // every port of every protocol
  std::vector<net::Protocol> protocols;  // whole, sorted
  std::vector<ProtocolPorts> ranges;
  bool empty() const { return !any && protocols.empty() && ranges.empty(); }
  friend auto operator<=>(const PortSet&, const PortSet&) = default;
};

/// Collects in any order and any overlap.
class PortSetBuilder {
 public:
  void add_any() { any_ = true; }
  void add_protocol(net::Protocol protocol) { whole_.set(protocol.number); }
  void add(net::Protocol protocol, net::PortRange ports);
  void add(const PortSet& set);
  PortSet finish();  // and starts anew

 private:
  bool any_ = false;
  std::bitset<256> whole_;
  std::vector<ProtocolPorts> ranges_;
};

}  // namespace podfence::model
