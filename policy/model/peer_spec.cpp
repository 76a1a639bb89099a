#include "policy/model/peer_spec.h"

#include <algorithm>

#include "policy/base/overloaded.h"

namespace podfence::model {
namespace {

bool matches_pod(const PodsOf& spec, const api::Pod& pod, const api::Labels& namespace_labels) {
  const auto* name = std::get_if<std::string>(&spec.namespaces);
  const bool namespace_fits = name != nullptr ? *name == pod.meta.namespace_
                                              : std::get<api::LabelSelector>(spec.namespaces).matches(namespace_labels);
  return namespace_fits && spec.pods.matches(pod.meta.labels);
}

}  // namespace

bool Ranges::contains(const net::IpAddr& ip) const {
  const auto after = std::upper_bound(ranges.begin(), ranges.end(), ip,
                                      [](const net::IpAddr& a, const net::IpRange& r) { return a < r.first; });
  return after != ranges.begin() && std::prev(after)->contains(ip);
}

bool is_block(const PeerSpec& spec) {
  return !spec.port && std::holds_alternative<Ranges>(spec.who);
}

std::optional<std::uint16_t> match(const PeerSpec& spec, const net::IpAddr& ip, const api::Pod* owner,
                                   const api::Labels& namespace_labels) {
  const bool fits = std::visit(
      overloaded{
          [&](const PodsOf& pods) { return owner != nullptr && matches_pod(pods, *owner, namespace_labels); },
          [&](const Ranges& block) { return block.contains(ip); },
      },
      spec.who);
  if (!fits) return std::nullopt;
  if (!spec.port) return std::uint16_t{0};
  if (owner == nullptr) return std::nullopt;
  const auto port = owner->named_port(spec.port->name, spec.port->protocol);
  if (!port || port->number == 0) return std::nullopt;
  return port->number;
}

}  // namespace podfence::model
