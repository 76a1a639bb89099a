#pragma once
// From the pod's interface to the host's end of it, by what the kernel says of both ends, and the switch of the bridge
// whose port it is.
#include <string>

#include "cni/host.h"

namespace podfence::cni {

/// See Host. Names and numbers of links mean nothing outside their namespace: a macvlan's number of the device below is
/// the node's NIC. So both ends must be of a kind that comes in pairs, and each must name the other and its namespace.
Outcome<Veth> find_veth_of(const std::string& netns, const std::string& ifname, bool own_netns_allowed);

/// See Host. By netlink, for sysfs is often not mounted or read-only where plugins run.
Outcome<> filter_bridge_of(const Veth& veth);
Outcome<> check_bridge_of(const Veth& veth);

}  // namespace podfence::cni
