#include "policy/model/grant.h"

#include <algorithm>

#include "policy/base/overloaded.h"

namespace podfence::model {
namespace {

/// The one namespace that a selector names by the label which every namespace has (conformance L-10), if it does.
const std::string* namespace_named_by(const api::LabelSelector& selector) {
  if (selector.requirements.size() != 1) return nullptr;
  const api::Requirement& only = selector.requirements[0];
  const bool by_name = only.key == "kubernetes.io/metadata.name" && only.op == api::Operator::in;
  return by_name && only.values.size() == 1 ? &only.values.front() : nullptr;
}

/// Nothing for a peer that can match no address.
std::optional<PeerSpec> spec_of(const api::Peer& peer, const std::string& own_namespace) {
  return std::visit(overloaded{
                        [&](const api::PodPeer& pods) -> std::optional<PeerSpec> {
                          if (pods.pods.invalid || (pods.namespaces && pods.namespaces->invalid)) return std::nullopt;
                          PodsOf spec{own_namespace, pods.pods};
                          if (pods.namespaces) {
                            // By name it is found without asking every namespace for its labels.
                            if (const std::string* name = namespace_named_by(*pods.namespaces)) {
                              spec.namespaces = *name;
                            } else {
                              spec.namespaces = *pods.namespaces;
                            }
                          }
                          return PeerSpec{std::move(spec), std::nullopt};
                        },
                        [](const api::IpBlock& block) -> std::optional<PeerSpec> {
                          std::vector<net::IpRange> holes;
                          for (const net::Cidr& hole : block.except) holes.push_back(hole.range());
                          Ranges rest{net::difference({block.cidr.range()}, holes)};
                          if (rest.ranges.empty()) return std::nullopt;
                          return PeerSpec{std::move(rest), std::nullopt};
                        },
                        [](const api::Nothing&) -> std::optional<PeerSpec> { return std::nullopt; },
                    },
                    peer);
}

struct Ports {
  PortSet numbers;
  std::vector<NamedPort> names;
};

Ports ports_of(const api::PolicyRule& rule) {
  Ports ports;
  PortSetBuilder numbers;
  if (rule.any_port) numbers.add_any();
  for (const api::PortSpec& spec : rule.ports) {
    if (rule.any_port || !net::has_ports(spec.protocol)) continue;
    if (spec.whole_protocol) {
      numbers.add_protocol(spec.protocol);
      continue;
    }
    std::visit(overloaded{
                   [&](const net::PortRange& range) { numbers.add(spec.protocol, range); },
                   [&](const std::string& name) {
                     ports.names.push_back({name, spec.protocol});
                   },
                   [](const api::Nothing&) {},
               },
               spec.port);
  }
  ports.numbers = numbers.finish();
  std::sort(ports.names.begin(), ports.names.end());
  ports.names.erase(std::unique(ports.names.begin(), ports.names.end()), ports.names.end());
  return ports;
}

PeerSpec every_pod() {
  return {PodsOf{api::LabelSelector{}, api::LabelSelector{}}, std::nullopt};
}

std::vector<std::optional<PeerSpec>> peers_of(const api::PolicyRule& rule, const std::string& own_namespace) {
  if (rule.any_peer) return {std::nullopt};
  std::vector<std::optional<PeerSpec>> peers;
  for (const api::Peer& peer : rule.peers) {
    if (auto spec = spec_of(peer, own_namespace)) peers.push_back(std::move(spec));
  }
  return peers;
}

}  // namespace

std::vector<Grant> grants_of(const api::NetworkPolicy& policy, net::Direction direction) {
  std::vector<Grant> grants;
  if (!policy.isolates(direction)) return grants;
  const bool ingress = direction == net::Direction::ingress;
  for (const api::PolicyRule& rule : policy.rules(direction)) {
    const Ports ports = ports_of(rule);
    for (const auto& peer : peers_of(rule, policy.meta.namespace_)) {
      Grant grant{peer, ports.numbers, {}};
      if (ingress) grant.local_names = ports.names;
      if (!grant.ports.empty() || !grant.local_names.empty()) grants.push_back(std::move(grant));
      if (ingress) continue;
      for (const NamedPort& name : ports.names) {
        PeerSpec refined = peer ? *peer : every_pod();
        refined.port = name;
        grants.push_back({std::move(refined), {}, {}});
      }
    }
  }
  return grants;
}

}  // namespace podfence::model
