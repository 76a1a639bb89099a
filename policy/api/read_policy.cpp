#include <algorithm>
#include <array>

#include "policy/api/parts.h"

namespace podfence::api {
namespace {

using net::Direction;

struct RuleFields {
  std::string_view rules;        // in the spec
  std::string_view peers;        // in a rule
  std::string_view other_peers;  // those of the other direction
};

RuleFields fields_of(Direction direction) {
  if (direction == Direction::ingress) return {"ingress", "from", "to"};
  return {"egress", "to", "from"};
}

/// Admits nobody: what becomes of a rule that cannot be read.
PolicyRule closed_rule(const std::string& why) {
  PolicyRule out;
  out.any_peer = false;
  out.peers = {Nothing{why}};
  return out;
}

PolicyRule read_rule(Report& report, const Value& rule, const RuleFields& names) {
  if (!rule.is_object()) {
    std::string why = rule.shown() + " is not a rule: expected a map (write {} to allow everything)";
    report.error(rule, why);
    return closed_rule(why);
  }
  const Fields fields = count_fields(rule, {names.peers, "ports"});
  const bool misplaced = rule.get(names.other_peers).given();
  if (misplaced || (fields.known == 0 && fields.unknown > 0)) {
    // Ignored, the field would leave a rule that admits everybody.
    std::string why = quote(misplaced ? std::string(names.other_peers) : fields.first_unknown) +
                      " is not a field of an " + std::string(names.rules) + " rule: expected " +
                      std::string(names.peers) + ", ports";
    report.error(rule, why);
    return closed_rule(why);
  }
  warn_of_unknown(report, rule, {names.peers, "ports"});
  PolicyRule out;
  const Value peers = rule.get(names.peers);
  if (peers.given() && !report.array(peers)) {
    out.any_peer = false;
    out.peers.emplace_back(Nothing{std::string(names.peers) + " is not a list"});
  }
  peers.each_item([&](const Value& peer) { out.peers.push_back(read_peer(report, peer)); });
  const Value ports = rule.get("ports");
  if (ports.given() && !report.array(ports)) {
    PortSpec none;
    none.port = Nothing{"ports is not a list"};
    out.ports.push_back(std::move(none));
  }
  ports.each_item([&](const Value& port) { out.ports.push_back(read_port_spec(report, port)); });
  out.any_peer = out.peers.empty();
  out.any_port = out.ports.empty();
  return out;
}

std::vector<PolicyRule> read_rules(Report& report, const Value& spec, Direction direction) {
  const RuleFields names = fields_of(direction);
  std::vector<PolicyRule> out;
  const Value rules = spec.get(names.rules);
  if (!report.array(rules)) return out;
  rules.each_item([&](const Value& rule) { out.push_back(read_rule(report, rule, names)); });
  return out;
}

/// What cannot be read isolates every direction that it could mean.
void read_types(Report& report, const Value& spec, NetworkPolicy& policy) {
  const Value types = spec.get("policyTypes");
  const auto isolate = [&](bool ingress, bool egress) {
    policy.isolates_ingress = ingress;
    policy.isolates_egress = egress;
  };
  if (types.given() && !report.array(types)) return isolate(true, true);
  const std::size_t count = types.size();
  if (count == 0) {
    // Missing and [] are alike: the API server's defaulting looks at the length (conformance I-11, I-12).
    const Value egress = spec.get("egress");
    return isolate(true, egress.given() && (!egress.is_array() || egress.size() > 0));
  }
  isolate(false, false);
  if (count > 2) report.error(types, std::to_string(count) + " entries: expected at most Ingress and Egress");
  types.each_item([&](const Value& type) {
    if (type.is_string() && type.string() == "Ingress") {
      policy.isolates_ingress = true;
    } else if (type.is_string() && type.string() == "Egress") {
      policy.isolates_egress = true;
    } else {
      report.error(type, type.shown() + " is not a policy type: expected Ingress or Egress");
      isolate(true, true);
    }
  });
}

void read_subject(Report& report, const Value& spec, NetworkPolicy& policy) {
  const Value selector = spec.get("podSelector");
  if (!selector.given()) return;
  policy.pod_selector = read_selector(report, selector);
  if (policy.pod_selector.invalid) {
    // Matching nothing would leave open what the author meant to close.
    policy.pod_selector = LabelSelector{};
    report.error(selector, "the selector cannot be read: the policy applies to every pod of its namespace");
  }
}

}  // namespace

std::optional<NetworkPolicy> read_network_policy(Report& report, const Value& object) {
  NetworkPolicy policy;
  if (!read_meta(report, object, Kind::network_policy, policy.meta)) return std::nullopt;
  warn_of_unknown(report, object, {"apiVersion", "kind", "metadata", "spec", "status"});
  const Value spec = object.get("spec");
  if (spec.given() && !report.object(spec)) {
    policy.isolates_egress = true;
    return policy;
  }
  warn_of_unknown(report, spec, {"podSelector", "policyTypes", "ingress", "egress"});
  read_subject(report, spec, policy);
  read_types(report, spec, policy);
  // Rules of a direction that is not asked for are checked all the same, as the API server does.
  policy.ingress = read_rules(report, spec, Direction::ingress);
  policy.egress = read_rules(report, spec, Direction::egress);
  if (!policy.isolates_ingress) policy.ingress.clear();
  if (!policy.isolates_egress) policy.egress.clear();
  return policy;
}

}  // namespace podfence::api
