#pragma once
// The list of flows that `podfence simulate --flows` asks about.
#include <string>
#include <string_view>
#include <vector>

#include "enforcer/cli/endpoint.h"
#include "policy/base/result.h"
#include "policy/net/protocol.h"

namespace podfence::cli {

/// As it was asked: {from: ns/pod | IP, to: ns/pod | IP, port: N | name, protocol: TCP | UDP | SCTP | ICMP}.
struct FlowQuestion {
  std::string where;  // "flows.yaml: [3]"
  std::string from;
  std::string to;
  PortQuestion port;
  net::Protocol protocol = net::tcp;
};

/// A list of flows, or {flows: [...]}, as YAML or JSON (by the file's name: *.json is JSON). The fields of an answer of
/// `simulate` are taken and ignored, so that its output can be asked again; any other field is an error.
Result<std::vector<FlowQuestion>> parse_flows(std::string_view file, std::string_view text);

}  // namespace podfence::cli
