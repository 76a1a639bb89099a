#pragma once
// What a user calls the ends of a flow: "namespace/pod" or an address, and a port by number or name.
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "policy/base/result.h"
#include "policy/net/flow.h"
#include "policy/store/cluster.h"

namespace podfence::cli {

struct Endpoint {
  std::string text;                    // as it was given
  const api::Pod* pod = nullptr;       // when it was given as one, or owns the address
  std::vector<net::IpAddr> addresses;  // one or more
};

/// Fails with a text that says what was expected: for a pod that is not there or has no address, too.
Result<Endpoint> find_endpoint(const store::Cluster& cluster, std::string_view text);

/// A port as it was asked for: nothing, a number, or a name that the destination pod has for the protocol.
using PortQuestion = std::variant<std::monostate, net::Port, std::string>;

/// "80" is a number, "http" a name.
Result<PortQuestion> parse_port(std::string_view text);

/// Of a protocol without ports: 0, and a port that was given is an error.
Result<net::Port> find_port(const Endpoint& destination, const PortQuestion& port, net::Protocol protocol);

/// The flows between two ends: one for each family that both have, in the order of the source's addresses (the primary
/// address first). ICMP becomes that of the family. Fails when there is no common family.
Result<std::vector<net::Flow>> flows_between(const Endpoint& source, const Endpoint& destination,
                                             net::Protocol protocol, net::Port port);

}  // namespace podfence::cli
