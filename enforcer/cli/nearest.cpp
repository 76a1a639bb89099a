// Targets of `podfence explain`, and the rules that come near to admitting a flow.
#include <algorithm>

#include "enforcer/cli/explain.h"
#include "enforcer/cli/words.h"

namespace podfence::cli {
namespace {

constexpr std::size_t most_near_rules = 5;

/// END, or END:PORT, where END is an address (IPv6 in brackets when a port follows) or NAMESPACE/POD.
struct EndAndPort {
  std::string_view end;
  std::string_view port;
  bool has_port = false;
};

std::optional<EndAndPort> split_end(std::string_view text) {
  if (text.starts_with('[')) {
    const std::size_t close = text.find(']');
    if (close == std::string_view::npos) return std::nullopt;
    const std::string_view after = text.substr(close + 1);
    if (!after.empty() && !after.starts_with(':')) return std::nullopt;
    return EndAndPort{text.substr(1, close - 1), after.empty() ? after : after.substr(1), !after.empty()};
  }
  if (net::IpAddr::parse(text)) return EndAndPort{text, {}, false};
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return EndAndPort{text, {}, false};
  return EndAndPort{text.substr(0, colon), text.substr(colon + 1), true};
}

bool is_end(std::string_view text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) return net::IpAddr::parse(text).has_value();
  return slash > 0 && slash + 1 < text.size() && text.find('/', slash + 1) == std::string_view::npos &&
         text.find(':') == std::string_view::npos;
}

/// The pods of a flow and one policy with one rule: the evaluator's verdict on it says whether that rule fits.
class RuleProbe {
 public:
  RuleProbe(const store::Cluster& cluster, const net::Flow& flow, net::Direction direction)
      : flow_(flow), direction_(direction) {
    for (const net::IpAddr& ip : {flow.source, flow.destination}) {
      const api::Pod* pod = cluster.pod_by_ip(ip);
      if (pod == nullptr) continue;
      probe_.apply(store::Upsert{*pod});
      if (const auto* space = cluster.find_namespace(pod->meta.namespace_)) probe_.apply(store::Upsert{*space});
    }
  }

  bool fits(const api::NetworkPolicy& policy, api::PolicyRule rule) {
    api::NetworkPolicy alone;
    alone.meta = policy.meta;
    alone.pod_selector = policy.pod_selector;
    alone.isolates_ingress = direction_ == net::Direction::ingress;
    alone.isolates_egress = direction_ == net::Direction::egress;
    (alone.isolates_ingress ? alone.ingress : alone.egress) = {std::move(rule)};
    probe_.apply(store::Upsert{alone});
    const bool allowed = evaluate::evaluate(probe_, flow_).allowed;
    probe_.apply(store::Remove{{api::Kind::network_policy, policy.meta.namespace_, policy.meta.name}, ""});
    return allowed;
  }

 private:
  store::Cluster probe_;
  net::Flow flow_;
  net::Direction direction_;
};

std::string flow_port_words(const net::Flow& flow) {
  const std::string protocol = net::text_of(flow.protocol);
  return net::has_ports(flow.protocol) ? protocol + " " + std::to_string(flow.destination_port.number) : protocol;
}

bool names_protocol(const api::PolicyRule& rule, net::Protocol protocol) {
  return std::any_of(rule.ports.begin(), rule.ports.end(), [&](const auto& spec) { return spec.protocol == protocol; });
}

/// Less is nearer: another port of the protocol is a smaller step than another peer, another protocol a greater one.
int distance(const NearRule& rule) {
  if (rule.peer_fits) return rule.same_protocol ? 0 : 2;
  return 1;
}

std::optional<NearRule> near(RuleProbe& probe, const net::Flow& flow, const api::NetworkPolicy& policy,
                             net::Direction direction, std::size_t index, const api::Pod* destination) {
  const api::PolicyRule& rule = policy.rules(direction)[index];
  api::PolicyRule any_port = rule;
  any_port.any_port = true;
  any_port.ports.clear();
  api::PolicyRule any_peer = rule;
  any_peer.any_peer = true;
  any_peer.peers.clear();
  NearRule found;
  found.policy = policy.meta.namespace_ + "/" + policy.meta.name;
  found.rule = std::string(net::name_of(direction)) + "[" + std::to_string(index) + "]";
  found.peer_fits = probe.fits(policy, std::move(any_port));
  found.port_fits = probe.fits(policy, std::move(any_peer));
  found.same_protocol = names_protocol(rule, flow.protocol);
  if (found.peer_fits == found.port_fits) return std::nullopt;
  if (found.peer_fits) {
    found.text = "admits this peer on " + ports_in_words(rule, destination) + ", not on " + flow_port_words(flow);
  } else {
    const bool in = direction == net::Direction::ingress;
    found.text = "admits " + flow_port_words(flow) + (in ? " from " : " to ") + peers_in_words(rule) + ", not " +
                 (in ? "from " + flow.source.text() : "to " + flow.destination.text());
  }
  return found;
}

}  // namespace

Result<Target> parse_target(std::string_view text) {
  const auto build = [&](const EndAndPort& parts, net::Protocol protocol) -> Result<Target> {
    Target target{std::string(parts.end), {}, protocol};
    if (!parts.has_port) return target;
    auto port = parse_port(parts.port);
    if (!port) return fail(port.error());
    target.port = *std::move(port);
    return target;
  };
  const std::size_t slash = text.rfind('/');
  if (slash != std::string_view::npos) {
    const auto protocol = net::parse_protocol(text.substr(slash + 1));
    const auto parts = split_end(text.substr(0, slash));
    if (parts && is_end(parts->end)) {
      if (protocol) return build(*parts, *protocol);
      return fail(Errc::invalid, "\"" + std::string(text.substr(slash + 1)) +
                                     "\" is no protocol: give TCP, UDP, SCTP, ICMP or a number");
    }
  }
  const auto parts = split_end(text);
  if (parts && is_end(parts->end)) return build(*parts, net::tcp);
  return fail(Errc::invalid, "\"" + std::string(text) +
                                 "\" is not NAMESPACE/POD[:PORT][/PROTOCOL] or IP[:PORT][/PROTOCOL] (an IPv6 address "
                                 "with a port stands in brackets)");
}

std::vector<NearRule> nearest_rules(const store::Cluster& cluster, const net::Flow& flow,
                                    const evaluate::Verdict& verdict) {
  std::vector<NearRule> found;
  if (verdict.allowed || verdict.reason != evaluate::Reason::default_deny) return found;
  const api::Pod* destination = cluster.pod_by_ip(flow.destination);
  RuleProbe probe(cluster, flow, verdict.direction);
  for (const evaluate::PolicyVerdict& said : verdict.policies) {
    const api::NetworkPolicy* policy = cluster.find_policy(said.namespace_, said.name);
    if (policy == nullptr) continue;
    for (std::size_t i = 0; i < policy->rules(verdict.direction).size(); ++i) {
      if (auto rule = near(probe, flow, *policy, verdict.direction, i, destination)) found.push_back(*std::move(rule));
    }
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const NearRule& a, const NearRule& b) { return distance(a) < distance(b); });
  if (found.size() > most_near_rules) found.erase(found.begin() + most_near_rules, found.end());
  return found;
}

}  // namespace podfence::cli
