#include "policy/store/cluster.h"

#include <algorithm>
#include <iterator>
#include <tuple>

#include "policy/base/overloaded.h"

namespace podfence::store {
namespace {

constexpr std::string_view name_label = "kubernetes.io/metadata.name";

/// The label that names a namespace is the API server's, whatever the object says (conformance L-10, L-11).
void set_name_label(api::Labels& labels, std::string_view name) {
  if (api::find_label(labels, name_label) == name) return;
  auto& all = labels.edit();
  const auto at = std::lower_bound(all.begin(), all.end(), name_label,
                                   [](const auto& label, std::string_view key) { return label.first < key; });
  if (at != all.end() && at->first == name_label) {
    at->second = name;
  } else {
    all.emplace(at, name_label, name);
  }
}

/// Before means that it rather owns an address that both claim.
bool owns_before(const api::Pod& a, const api::Pod& b) {
  const bool a_runs = a.phase == api::Phase::running;
  const bool b_runs = b.phase == api::Phase::running;
  if (a_runs != b_runs) return a_runs;
  if (a.meta.created != b.meta.created) return a.meta.created > b.meta.created;
  return std::tie(a.meta.uid, a.meta.namespace_, a.meta.name) < std::tie(b.meta.uid, b.meta.namespace_, b.meta.name);
}

/// Equal parts of two pods become one: replicas have nearly everything in common.
void share_parts(api::Pod& pod, const api::Pod& with) {
  const auto share = [](auto& part, const auto& other) {
    if (part == other) part = other;
  };
  share(pod.meta.namespace_, with.meta.namespace_);
  share(pod.meta.name, with.meta.name);
  share(pod.meta.uid, with.meta.uid);
  share(pod.meta.labels, with.meta.labels);
  share(pod.node, with.node);
  share(pod.named_ports, with.named_ports);
  share(pod.workload_kind, with.workload_kind);
  share(pod.workload, with.workload);
}

template <class Map, class Key>
auto* found_in(const Map& map, const Key& key) {
  const auto at = map.find(key);
  return at == map.end() ? nullptr : &at->second;
}

bool other_uid(const Remove& event, const api::ObjectMeta& meta) {
  return !event.uid.empty() && event.uid != meta.uid;
}

/// Inserts or replaces; the place of the object, and whether anything changed. `before` sees the old one.
template <class Map, class Object, class Before>
std::pair<const Object*, bool> put(Map& map, typename Map::key_type key, Object object, const Before& before) {
  const auto [at, added] = map.try_emplace(std::move(key));
  if (!added) {
    if (at->second == object) return {&at->second, false};
    before(at->second);
  }
  at->second = std::move(object);
  return {&at->second, true};
}

}  // namespace

api::ObjectKey key_of(const Event& event) {
  return std::visit(overloaded{
                        [](const Upsert& upsert) { return api::key_of(upsert.object); },
                        [](const Remove& remove) { return remove.key; },
                    },
                    event);
}

Cluster::Cluster(const Cluster& other)
    : namespaces_(other.namespaces_), nodes_(other.nodes_), pods_(other.pods_), policies_(other.policies_) {
  for (const auto& [key, pod] : pods_) {
    if (pod.selectable()) pods_by_ip_.add(pod);
  }
  for (const auto& [name, node] : nodes_) nodes_by_ip_.add(node);
}

Cluster& Cluster::operator=(const Cluster& other) {
  if (this != &other) *this = Cluster(other);
  return *this;
}

bool Cluster::apply(Event event) {
  return std::visit(
      overloaded{
          [&](Upsert& put) { return std::visit([&](auto& object) { return upsert(std::move(object)); }, put.object); },
          [&](Remove& gone) { return remove(gone); },
      },
      event);
}

bool Cluster::upsert(api::Namespace object) {
  set_name_label(object.meta.labels, object.meta.name);
  std::string name = object.meta.name;
  return put(namespaces_, std::move(name), std::move(object), [](const auto&) {}).second;
}

bool Cluster::upsert(api::Node object) {
  std::string name = object.meta.name;
  const auto drop = [&](const api::Node& old) { nodes_by_ip_.drop(old); };
  const auto [place, changed] = put(nodes_, std::move(name), std::move(object), drop);
  if (changed) nodes_by_ip_.add(*place);
  return changed;
}

/// The pods beside it by name are most likely its replicas.
void Cluster::share_with_neighbours(api::Pod& pod) const {
  const auto after = pods_.lower_bound(NamespacedName(pod.meta.namespace_, pod.meta.name));
  if (after != pods_.begin()) share_parts(pod, std::prev(after)->second);
  if (after != pods_.end()) share_parts(pod, after->second);
  if (const api::Node* node = find_node(pod.node)) pod.node = node->meta.name;
}

bool Cluster::upsert(api::Pod object) {
  share_with_neighbours(object);
  NamespacedName key{object.meta.namespace_, object.meta.name};
  const auto drop = [&](const api::Pod& old) {
    if (old.selectable()) pods_by_ip_.drop(old);
  };
  const auto [place, changed] = put(pods_, std::move(key), std::move(object), drop);
  if (changed && place->selectable()) pods_by_ip_.add(*place);
  return changed;
}

bool Cluster::upsert(api::NetworkPolicy object) {
  NamespacedName key{object.meta.namespace_, object.meta.name};
  return put(policies_, std::move(key), std::move(object), [](const auto&) {}).second;
}

bool Cluster::remove(const Remove& event) {
  const auto erase = [&](auto& map, const auto& key, const auto& before) {
    const auto at = map.find(key);
    if (at == map.end() || other_uid(event, at->second.meta)) return false;
    before(at->second);
    map.erase(at);
    return true;
  };
  const auto nothing = [](const auto&) {};
  const NamespacedName pair{event.key.namespace_, event.key.name};
  switch (event.key.kind) {
    case api::Kind::namespace_:
      return erase(namespaces_, event.key.name, nothing);
    case api::Kind::network_policy:
      return erase(policies_, pair, nothing);
    case api::Kind::node:
      return erase(nodes_, event.key.name, [&](const api::Node& node) { nodes_by_ip_.drop(node); });
    case api::Kind::pod:
      return erase(pods_, pair, [&](const api::Pod& pod) {
        if (pod.selectable()) pods_by_ip_.drop(pod);
      });
  }
  return false;
}

const api::Namespace* Cluster::find_namespace(std::string_view name) const {
  return found_in(namespaces_, name);
}

const api::Node* Cluster::find_node(std::string_view name) const {
  return found_in(nodes_, name);
}

const api::Pod* Cluster::find_pod(std::string_view namespace_, std::string_view name) const {
  return found_in(pods_, NamespacedName(namespace_, name));
}

const api::NetworkPolicy* Cluster::find_policy(std::string_view namespace_, std::string_view name) const {
  return found_in(policies_, NamespacedName(namespace_, name));
}

const api::Labels& Cluster::namespace_labels(std::string_view name) const {
  if (const api::Namespace* known = find_namespace(name)) return known->meta.labels;
  const auto at = derived_labels_.find(name);
  if (at != derived_labels_.end()) return at->second;
  api::Labels labels;
  set_name_label(labels, name);
  return derived_labels_.emplace(std::string(name), std::move(labels)).first->second;
}

const api::Pod* Cluster::pod_by_ip(const net::IpAddr& ip) const {
  return node_by_ip(ip) != nullptr ? nullptr : pods_by_ip_.first_with(ip, owns_before);
}

const api::Node* Cluster::node_by_ip(const net::IpAddr& ip) const {
  return nodes_by_ip_.first_with(ip, [](const api::Node& a, const api::Node& b) { return a.meta.name < b.meta.name; });
}

bool operator==(const Cluster& a, const Cluster& b) {
  return a.namespaces_ == b.namespaces_ && a.nodes_ == b.nodes_ && a.pods_ == b.pods_ && a.policies_ == b.policies_;
}

}  // namespace podfence::store
