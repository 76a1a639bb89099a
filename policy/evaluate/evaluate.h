#pragma once
// The reference evaluator: would this flow pass, and who says so? Straight from the API objects in the plainest code.
// It shares nothing with the compiler, which is judged against it.
#include <string>
#include <vector>

#include "policy/net/flow.h"
#include "policy/store/cluster.h"

namespace podfence::evaluate {

enum class Reason {
  no_pod,           // neither end is a pod that is judged here: not ours to say
  not_isolated,     // no policy selects a pod for its direction
  allowed_by_rule,  // every isolated side has a rule that admits the flow
  own_node,         // between a pod and the node it runs on
  own_pod,          // a pod to itself
  default_deny,     // isolated, and no rule admits the flow
  fail_closed,      // an address of this node's pod ranges, or plugged in on it, that no known pod owns
};

std::string_view name_of(Reason reason);  // "default_deny", ...

/// A policy that had a say. `rule` is the index of the rule that admits, or npos when it only isolates.
struct PolicyVerdict {
  static constexpr std::size_t npos = static_cast<std::size_t>(-1);
  std::string namespace_;
  std::string name;
  net::Direction direction = net::Direction::ingress;
  std::size_t rule = npos;
  friend bool operator==(const PolicyVerdict&, const PolicyVerdict&) = default;
};

struct Verdict {
  bool allowed = true;
  Reason reason = Reason::not_isolated;
  /// The side that denied; of an allowed flow, ingress.
  net::Direction direction = net::Direction::ingress;
  /// Of a denied flow: every policy that isolates the pod that denied. Of an allowed one: for each isolated side, every
  /// policy with a rule that admits it. Sorted by direction (egress first), namespace, name.
  std::vector<PolicyVerdict> policies;
};

struct Options {
  /// Judge as this node does: only the sides whose pod runs here, plus its fail-closed rule. Empty: every side.
  std::string node;
  /// Whether addresses of the node's podCIDRs that no known pod owns are closed (only with `node`).
  bool fail_closed = true;
  /// Addresses that were plugged in on the node: closed until a known pod of it owns them (only with `node`).
  std::vector<net::IpAddr> attached = {};
};

Verdict evaluate(const store::Cluster& cluster, const net::Flow& flow, const Options& options = {});

/// The policies that isolate a pod in that direction, sorted by name.
std::vector<const api::NetworkPolicy*> isolating(const store::Cluster& cluster, const api::Pod& pod,
                                                 net::Direction direction);

}  // namespace podfence::evaluate
