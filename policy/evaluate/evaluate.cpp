#include "policy/evaluate/evaluate.h"

#include <algorithm>
#include <optional>

#include "policy/base/overloaded.h"

namespace podfence::evaluate {
namespace {

using net::Direction;

bool is_address_of(const api::Node* node, const net::IpAddr& ip) {
  return node != nullptr && std::find(node->addresses.begin(), node->addresses.end(), ip) != node->addresses.end();
}

bool in_pod_range_of(const api::Node* node, const net::IpAddr& ip) {
  return node != nullptr && std::any_of(node->pod_cidrs.begin(), node->pod_cidrs.end(),
                                        [&](const net::Cidr& cidr) { return cidr.contains(ip); });
}

/// One end of a flow with whoever owns its address now.
struct End {
  net::IpAddr ip;
  const api::Pod* pod = nullptr;  // nothing outside of the cluster, and for nodes and their host network
};

/// One side of a connection, as the pod sees it whose policies are asked.
struct Side {
  Direction direction;
  End local;
  End remote;
  net::Protocol protocol;
  net::Port port;            // destination port
  const api::Pod* listener;  // the pod that owns the destination: named ports are its own
};

bool peer_matches(const store::Cluster& cluster, const std::string& policy_namespace, const api::Peer& peer,
                  const End& remote) {
  return std::visit(overloaded{
                        [&](const api::PodPeer& pods) {
                          if (remote.pod == nullptr) return false;
                          const api::ObjectMeta& meta = remote.pod->meta;
                          const bool namespace_fits =
                              pods.namespaces ? pods.namespaces->matches(cluster.namespace_labels(meta.namespace_))
                                              : meta.namespace_ == policy_namespace;
                          return namespace_fits && pods.pods.matches(meta.labels);
                        },
                        [&](const api::IpBlock& block) {
                          return block.cidr.contains(remote.ip) &&
                                 std::none_of(block.except.begin(), block.except.end(),
                                              [&](const net::Cidr& hole) { return hole.contains(remote.ip); });
                        },
                        [](const api::Nothing&) { return false; },
                    },
                    peer);
}

bool port_matches(const api::PortSpec& spec, const Side& side) {
  if (spec.protocol != side.protocol || !net::has_ports(side.protocol)) return false;
  if (spec.whole_protocol) return true;
  return std::visit(overloaded{
                        [&](const net::PortRange& range) { return range.contains(side.port); },
                        [&](const std::string& name) {
                          if (side.listener == nullptr) return false;
                          return side.listener->named_port(name, side.protocol) == side.port;
                        },
                        [](const api::Nothing&) { return false; },
                    },
                    spec.port);
}

bool rule_admits(const store::Cluster& cluster, const api::NetworkPolicy& policy, const api::PolicyRule& rule,
                 const Side& side) {
  const bool peer_fits = rule.any_peer || std::any_of(rule.peers.begin(), rule.peers.end(), [&](const api::Peer& peer) {
                           return peer_matches(cluster, policy.meta.namespace_, peer, side.remote);
                         });
  const bool port_fits = rule.any_port || std::any_of(rule.ports.begin(), rule.ports.end(),
                                                      [&](const auto& spec) { return port_matches(spec, side); });
  return peer_fits && port_fits;
}

/// What the policies of the local pod say to one side of the connection.
struct Judgement {
  bool isolated = false;
  std::vector<PolicyVerdict> isolates;  // every policy that isolates
  std::vector<PolicyVerdict> admits;    // those with a rule that admits, and the first such rule
  bool allowed() const { return !isolated || !admits.empty(); }
};

Judgement judge(const store::Cluster& cluster, const Side& side) {
  Judgement judgement;
  for (const api::NetworkPolicy* policy : isolating(cluster, *side.local.pod, side.direction)) {
    judgement.isolated = true;
    PolicyVerdict said{policy->meta.namespace_, policy->meta.name, side.direction, PolicyVerdict::npos};
    judgement.isolates.push_back(said);
    const auto& rules = policy->rules(side.direction);
    const auto admitting = std::find_if(rules.begin(), rules.end(), [&](const api::PolicyRule& rule) {
      return rule_admits(cluster, *policy, rule, side);
    });
    if (admitting == rules.end()) continue;
    said.rule = static_cast<std::size_t>(admitting - rules.begin());
    judgement.admits.push_back(std::move(said));
  }
  return judgement;
}

/// Verdicts that need no policy: a pod to itself, a pod and its node, and addresses that no known pod owns.
std::optional<Verdict> without_policy(const store::Cluster& cluster, const End& source, const End& destination,
                                      const Options& options) {
  if (source.pod != nullptr && source.ip == destination.ip &&
      (options.node.empty() || source.pod->node == options.node)) {
    return Verdict{true, Reason::own_pod, Direction::ingress, {}};
  }
  const Verdict own_node{true, Reason::own_node, Direction::ingress, {}};
  if (options.node.empty()) {
    const auto runs_on = [&](const End& end, const net::IpAddr& ip) {
      return end.pod != nullptr && is_address_of(cluster.find_node(end.pod->node), ip);
    };
    if (runs_on(source, destination.ip) || runs_on(destination, source.ip)) return own_node;
    return std::nullopt;
  }
  // What the node itself sends or receives never crosses the forward hook.
  const api::Node* node = cluster.find_node(options.node);
  if (is_address_of(node, source.ip) || is_address_of(node, destination.ip)) return own_node;
  const auto managed = [&](const net::IpAddr& ip) {
    return (options.fail_closed && in_pod_range_of(node, ip)) ||
           std::find(options.attached.begin(), options.attached.end(), ip) != options.attached.end();
  };
  const auto unknown = [&](const End& end) {
    return managed(end.ip) && (end.pod == nullptr || end.pod->node != options.node);
  };
  if (unknown(source)) return Verdict{false, Reason::fail_closed, Direction::egress, {}};
  if (unknown(destination)) return Verdict{false, Reason::fail_closed, Direction::ingress, {}};
  return std::nullopt;
}

}  // namespace

std::string_view name_of(Reason reason) {
  switch (reason) {
    case Reason::no_pod:
      return "no_pod";
    case Reason::not_isolated:
      return "not_isolated";
    case Reason::allowed_by_rule:
      return "allowed_by_rule";
    case Reason::own_node:
      return "own_node";
    case Reason::own_pod:
      return "own_pod";
    case Reason::default_deny:
      return "default_deny";
    case Reason::fail_closed:
      return "fail_closed";
  }
  return "unknown";
}

std::vector<const api::NetworkPolicy*> isolating(const store::Cluster& cluster, const api::Pod& pod,
                                                 net::Direction direction) {
  std::vector<const api::NetworkPolicy*> found;
  if (!pod.selectable()) return found;
  for (const auto& [key, policy] : cluster.policies()) {
    if (policy.meta.namespace_ == pod.meta.namespace_ && policy.isolates(direction) &&
        policy.pod_selector.matches(pod.meta.labels)) {
      found.push_back(&policy);
    }
  }
  return found;
}

Verdict evaluate(const store::Cluster& cluster, const net::Flow& flow, const Options& options) {
  const End source{flow.source, cluster.pod_by_ip(flow.source)};
  const End destination{flow.destination, cluster.pod_by_ip(flow.destination)};
  if (auto verdict = without_policy(cluster, source, destination, options)) return *verdict;

  const auto judged_here = [&](const End& end) {
    return end.pod != nullptr && (options.node.empty() || end.pod->node == options.node);
  };
  Verdict verdict{true, Reason::no_pod, Direction::ingress, {}};
  for (const Direction direction : {Direction::egress, Direction::ingress}) {
    const bool out = direction == Direction::egress;
    const Side side{direction,     out ? source : destination, out ? destination : source,
                    flow.protocol, flow.destination_port,      destination.pod};
    if (!judged_here(side.local)) continue;
    Judgement judgement = judge(cluster, side);
    if (!judgement.allowed()) return Verdict{false, Reason::default_deny, direction, std::move(judgement.isolates)};
    if (judgement.isolated) {
      verdict.reason = Reason::allowed_by_rule;
    } else if (verdict.reason == Reason::no_pod) {
      verdict.reason = Reason::not_isolated;
    }
    verdict.policies.insert(verdict.policies.end(), judgement.admits.begin(), judgement.admits.end());
  }
  return verdict;
}

}  // namespace podfence::evaluate
