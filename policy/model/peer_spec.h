#pragma once
// A peer of a policy with everything resolved that does not depend on pods: a value, so that policies which name the
// same peer share it. Whether an address matches is a matter of the address, of the pod that owns it, and of that pod's
// namespace, of nothing else.
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "policy/api/objects.h"
#include "policy/net/cidr.h"

namespace podfence::model {

/// Pods by their labels, of one namespace or of those whose labels match.
struct PodsOf {
  std::variant<std::string, api::LabelSelector> namespaces;
  api::LabelSelector pods;
  friend auto operator<=>(const PodsOf&, const PodsOf&) = default;
};

/// A block minus its exceptions: sorted, disjoint, never empty.
struct Ranges {
  std::vector<net::IpRange> ranges;
  bool contains(const net::IpAddr& ip) const;
  friend auto operator<=>(const Ranges&, const Ranges&) = default;
};

struct NamedPort {
  std::string name;
  net::Protocol protocol;
  friend auto operator<=>(const NamedPort&, const NamedPort&) = default;
};

/// With a port, which only egress rules have, it matches no more than the pods that name such a port, and each pod
/// stands for its own number (conformance T-09..T-12).
struct PeerSpec {
  std::variant<PodsOf, Ranges> who;
  std::optional<NamedPort> port;
  friend auto operator<=>(const PeerSpec&, const PeerSpec&) = default;
};

/// Whether it can match addresses that no pod owns: a block without a named port.
bool is_block(const PeerSpec& spec);

/// 0 for a match of a spec without a named port, else the number behind the name; nothing when it does not match.
/// `owner` is the pod that owns the address, if one does, and `namespace_labels` are those of its namespace.
std::optional<std::uint16_t> match(const PeerSpec& spec, const net::IpAddr& ip, const api::Pod* owner,
                                   const api::Labels& namespace_labels);
/// The same for an address that a pod owns whose namespace is known to fit.
std::optional<std::uint16_t> match_in_namespace(const PeerSpec& spec, const net::IpAddr& ip, const api::Pod& owner);

}  // namespace podfence::model
