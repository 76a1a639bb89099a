#include "enforcer/source/fingerprint.h"

#include <string_view>
#include <type_traits>

namespace podfence::source {
namespace {

/// Every part is preceded by its size or its alternative, so that no two objects look alike by where they are cut.
/// Structured bindings name every field: a new one does not compile until it is added here.
class Hasher {
 public:
  std::uint64_t result() const { return state_; }

  template <class T>
  requires std::is_integral_v<T> || std::is_enum_v<T>
  void add(T value) { mix(static_cast<std::uint64_t>(value)); }
  void add(std::string_view text) {
    mix(text.size());
    mix(std::hash<std::string_view>{}(text));
  }
  void add(const std::string& text) { add(std::string_view(text)); }
  void add(const Text& text) { add(text.view()); }
  void add(const net::IpAddr& ip) {
    add(ip.family());
    for (const auto byte : ip.bytes()) add(byte);
  }
  void add(const net::Cidr& cidr) { add_all(cidr.base(), cidr.length()); }
  void add(net::Protocol protocol) { add(protocol.number); }
  void add(net::Port port) { add(port.number); }
  void add(const net::PortRange& range) { add_all(range.first, range.last); }
  template <class A, class B>
  void add(const std::pair<A, B>& pair) {
    add_all(pair.first, pair.second);
  }
  template <class T>
  void add(const std::vector<T>& list) {
    mix(list.size());
    for (const auto& one : list) add(one);
  }
  template <class T>
  void add(const SharedList<T>& list) {
    add(list.items());
  }
  template <class T>
  void add(const std::optional<T>& maybe) {
    add(maybe.has_value());
    if (maybe) add(*maybe);
  }
  template <class... T>
  void add(const std::variant<T...>& one) {
    mix(one.index());
    std::visit([&](const auto& value) { add(value); }, one);
  }
  void add(const api::ObjectMeta& meta) {
    const auto& [namespace_, name, uid, labels, generation, created, terminating] = meta;
    add_all(namespace_, name, uid, labels, generation, created, terminating);
  }
  void add(const api::Requirement& requirement) {
    const auto& [key, op, values] = requirement;
    add_all(key, op, values);
  }
  void add(const api::LabelSelector& selector) {
    const auto& [requirements, invalid] = selector;
    add_all(requirements, invalid);
  }
  void add(const api::Nothing& nothing) { add(nothing.why); }
  void add(const api::PodPeer& peer) {
    const auto& [namespaces, pods] = peer;
    add_all(namespaces, pods);
  }
  void add(const api::IpBlock& block) {
    const auto& [cidr, except] = block;
    add_all(cidr, except);
  }
  void add(const api::PortSpec& spec) {
    const auto& [protocol, port, whole_protocol] = spec;
    add_all(protocol, port, whole_protocol);
  }
  void add(const api::PolicyRule& rule) {
    const auto& [any_peer, peers, any_port, ports] = rule;
    add_all(any_peer, peers, any_port, ports);
  }
  void add(const api::ContainerPort& port) {
    const auto& [name, protocol, number] = port;
    add_all(name, protocol, number);
  }
  void add(const api::Namespace& object) { add(object.meta); }
  void add(const api::Node& object) {
    const auto& [meta, addresses, pod_cidrs] = object;
    add_all(meta, addresses, pod_cidrs);
  }
  void add(const api::Pod& object) {
    const auto& [meta, node, host_network, phase, ips, named_ports, workload_kind, workload] = object;
    add_all(meta, node, host_network, phase, ips, named_ports, workload_kind, workload);
  }
  void add(const api::NetworkPolicy& object) {
    const auto& [meta, pod_selector, isolates_ingress, isolates_egress, ingress, egress] = object;
    add_all(meta, pod_selector, isolates_ingress, isolates_egress, ingress, egress);
  }

 private:
  template <class... T>
  void add_all(const T&... parts) {
    (add(parts), ...);
  }
  void mix(std::uint64_t value) {
    state_ = (state_ ^ value) * 0x9e3779b97f4a7c15ULL;
    state_ ^= state_ >> 29U;
  }

  std::uint64_t state_ = 0x243f6a8885a308d3ULL;
};

}  // namespace

std::uint64_t fingerprint(const api::Object& object) {
  Hasher hasher;
  hasher.add(object);
  return hasher.result();
}

}  // namespace podfence::source
