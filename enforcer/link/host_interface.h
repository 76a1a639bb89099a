#pragma once
// Finds the host's end of a pod's interface from the pod's address: by the route to just that address (ptp and other
// routed plugins), or by the neighbour entry on a bridge and the port behind which the bridge saw its MAC address.
// Only devices of kind veth or netkit with a peer in another network namespace count: for macvlan the peer index is the
// node's own NIC (rtnetlink(7); net/core/rtnetlink.c).
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "policy/base/result.h"
#include "policy/net/ip.h"

namespace podfence::link {

struct HostInterface {
  net::IpAddr address;  // the pod's
  std::uint32_t index = 0;
  std::string name;
  friend auto operator<=>(const HostInterface&, const HostInterface&) = default;
};

/// In the order of the addresses; those without a device that counts are left out. Opens a socket for each call.
Result<std::vector<HostInterface>> find_host_interfaces(std::span<const net::IpAddr> pod_addresses);

}  // namespace podfence::link
