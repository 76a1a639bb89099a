#pragma once
// NetworkPolicy (networking.k8s.io/v1) after defaulting. What was invalid in the input is kept as `Nothing`: it admits
// nobody, and never less isolation than the author asked for (conformance V-11).
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "policy/api/meta.h"
#include "policy/api/selector.h"
#include "policy/net/cidr.h"
#include "policy/net/flow.h"
#include "policy/net/protocol.h"

namespace podfence::api {

/// A part of a rule that can match nothing, and why.
struct Nothing {
  std::string why;
  friend bool operator==(const Nothing&, const Nothing&) = default;
};

/// namespaceSelector absent = pods of the policy's own namespace; podSelector absent = every pod (an empty selector).
struct PodPeer {
  std::optional<LabelSelector> namespaces;
  LabelSelector pods;
  friend bool operator==(const PodPeer&, const PodPeer&) = default;
};

struct IpBlock {
  net::Cidr cidr;
  std::vector<net::Cidr> except;  // narrows this block only (conformance B-03..B-06); sorted, unique
  friend bool operator==(const IpBlock&, const IpBlock&) = default;
};

using Peer = std::variant<PodPeer, IpBlock, Nothing>;

/// `port` absent = every port of the protocol.
struct PortSpec {
  net::Protocol protocol = net::tcp;
  std::variant<net::PortRange, std::string, Nothing> port = net::every_port;
  bool whole_protocol = false;  // no `port` given: then `port` holds every_port
  friend bool operator==(const PortSpec&, const PortSpec&) = default;
};

struct PolicyRule {
  bool any_peer = true;  // from/to missing, null or []: any address, in the cluster or not
  std::vector<Peer> peers;
  bool any_port = true;  // ports missing, null or []: every port of every protocol
  std::vector<PortSpec> ports;
  friend bool operator==(const PolicyRule&, const PolicyRule&) = default;
};

struct NetworkPolicy {
  ObjectMeta meta;
  LabelSelector pod_selector;
  bool isolates_ingress = true;
  bool isolates_egress = false;
  std::vector<PolicyRule> ingress;  // empty unless isolates_ingress
  std::vector<PolicyRule> egress;   // empty unless isolates_egress

  bool isolates(net::Direction d) const { return d == net::Direction::ingress ? isolates_ingress : isolates_egress; }
  const std::vector<PolicyRule>& rules(net::Direction d) const {
    return d == net::Direction::ingress ? ingress : egress;
  }
  friend bool operator==(const NetworkPolicy&, const NetworkPolicy&) = default;
};

}  // namespace podfence::api
