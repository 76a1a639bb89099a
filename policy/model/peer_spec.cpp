#include "policy/model/peer_spec.h"

#include <algorithm>

#include "policy/base/overloaded.h"

namespace podfence::model {
namespace {

bool namespace_fits(const PodsOf& spec, const std::string& name, const api::Labels& labels) {
  return std::visit(overloaded{
                        [&](const std::string& only) { return only == name; },
                        [&](const api::LabelSelector& selector) { return selector.matches(labels); },
                    },
                    spec.namespaces);
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

std::optional<std::uint16_t> match_in_namespace(const PeerSpec& spec, const net::IpAddr& ip, const api::Pod& owner) {
  const bool fits = std::visit(overloaded{
                                   [&](const PodsOf& pods) { return pods.pods.matches(owner.meta.labels); },
                                   [&](const Ranges& block) { return block.contains(ip); },
                               },
                               spec.who);
  if (!fits) return std::nullopt;
  if (!spec.port) return std::uint16_t{0};
  const auto port = owner.named_port(spec.port->name, spec.port->protocol);
  if (!port || port->number == 0) return std::nullopt;
  return port->number;
}

std::optional<std::uint16_t> match(const PeerSpec& spec, const net::IpAddr& ip, const api::Pod* owner,
                                   const api::Labels& namespace_labels) {
  if (owner == nullptr) {
    const bool fits = is_block(spec) && std::get<Ranges>(spec.who).contains(ip);
    return fits ? std::optional<std::uint16_t>(0) : std::nullopt;
  }
  const auto* pods = std::get_if<PodsOf>(&spec.who);
  if (pods != nullptr && !namespace_fits(*pods, owner->meta.namespace_, namespace_labels)) return std::nullopt;
  return match_in_namespace(spec, ip, *owner);
}

}  // namespace podfence::model
