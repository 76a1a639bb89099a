#pragma once
// What the plugin needs to know of the result of the plugins before it: the pod's addresses, and the host's interfaces
// to compare with. Every shape that a result has had is understood: ip4/ip6 (0.2.0), ips with and without "version".
#include <string>
#include <string_view>
#include <vector>

#include "cni/errors.h"
#include "policy/net/ip.h"

namespace podfence::cni {

struct PreviousResult {
  std::vector<net::IpAddr> addresses;        // of the interface, in the result's order, each once
  std::vector<std::string> host_interfaces;  // those without a sandbox
};

/// Of `raw`, the addresses that belong to interface `ifname` of sandbox `netns`. An address without an interface
/// belongs to it; one whose interface number is not in the list belongs to none. Code 6 for what is no result.
Outcome<PreviousResult> read_result(std::string_view raw, std::string_view ifname, std::string_view netns);

/// `raw` with cniVersion = `version`; the same bytes when it says so already.
std::string result_as(std::string_view raw, std::string_view version);

}  // namespace podfence::cni
