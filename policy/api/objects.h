#pragma once
// The objects that policy is made of, validated and defaulted. Everything here is a plain value.
#include <string>
#include <variant>
#include <vector>

#include "policy/api/meta.h"
#include "policy/api/network_policy.h"
#include "policy/net/cidr.h"
#include "policy/net/ip.h"
#include "policy/net/protocol.h"

namespace podfence::api {

/// Its labels always hold kubernetes.io/metadata.name (conformance L-11).
struct Namespace {
  ObjectMeta meta;
  friend bool operator==(const Namespace&, const Namespace&) = default;
};

struct Node {
  ObjectMeta meta;
  std::vector<net::IpAddr> addresses;  // status.addresses that are IP addresses; sorted, unique
  std::vector<net::Cidr> pod_cidrs;    // spec.podCIDRs (or podCIDR); sorted, unique
  friend bool operator==(const Node&, const Node&) = default;
};

/// A named port of a container, or of a native sidecar (init container with restartPolicy Always; conformance T-16).
/// Named ports of ordinary init containers do not count (T-17).
struct ContainerPort {
  std::string name;
  net::Protocol protocol = net::tcp;
  net::Port port;
  friend auto operator<=>(const ContainerPort&, const ContainerPort&) = default;
};

enum class Phase : std::uint8_t { pending, running, succeeded, failed, unknown };

std::string_view name_of(Phase phase);

struct Pod {
  ObjectMeta meta;
  Text node;  // spec.nodeName
  bool host_network = false;
  Phase phase = Phase::pending;
  std::vector<net::IpAddr> ips;           // status.podIPs (or podIP); unique, in their order
  SharedList<ContainerPort> named_ports;  // in their order; only those with a name
  /// The controller as people know it: a ReplicaSet made by a Deployment is named as the Deployment.
  Text workload_kind;
  Text workload;

  /// Succeeded or Failed: its address may belong to somebody else already (conformance D-12).
  bool terminal() const { return phase == Phase::succeeded || phase == Phase::failed; }
  /// Whether policy can select it, as a subject or as a peer: not on the host's network, not terminal, with an address.
  bool selectable() const { return !host_network && !terminal() && !ips.empty(); }
  /// The number behind a port name for that protocol; the first one wins.
  std::optional<net::Port> named_port(std::string_view name, net::Protocol protocol) const;
  friend bool operator==(const Pod&, const Pod&) = default;
};

using Object = std::variant<Namespace, Node, Pod, NetworkPolicy>;

const ObjectMeta& meta_of(const Object& object);
ObjectKey key_of(const Object& object);

}  // namespace podfence::api
