#pragma once
// The cluster as it is known now: a value that takes changes. Objects are found by key; pods also by address.
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "policy/api/objects.h"
#include "policy/store/address_index.h"

namespace podfence::store {

struct Upsert {
  api::Object object;
};
/// A remove with a uid is ignored when the stored object has another uid (a late delete of the old; conformance D-13).
struct Remove {
  api::ObjectKey key;
  std::string uid;
};
using Event = std::variant<Upsert, Remove>;

api::ObjectKey key_of(const Event& event);

/// namespace, name
using NamespacedName = std::pair<Text, Text>;

class Cluster {
 public:
  Cluster() = default;
  Cluster(const Cluster& other);  // the indexes point into the maps: a copy makes its own
  Cluster& operator=(const Cluster& other);
  Cluster(Cluster&&) noexcept = default;
  Cluster& operator=(Cluster&&) noexcept = default;
  ~Cluster() = default;

  /// Whether anything changed.
  bool apply(Event event);

  const std::map<std::string, api::Namespace, std::less<>>& namespaces() const { return namespaces_; }
  const std::map<std::string, api::Node, std::less<>>& nodes() const { return nodes_; }
  const std::map<NamespacedName, api::Pod>& pods() const { return pods_; }
  const std::map<NamespacedName, api::NetworkPolicy>& policies() const { return policies_; }

  const api::Namespace* find_namespace(std::string_view name) const;
  const api::Node* find_node(std::string_view name) const;
  const api::Pod* find_pod(std::string_view namespace_, std::string_view name) const;
  const api::NetworkPolicy* find_policy(std::string_view namespace_, std::string_view name) const;

  /// Labels of a namespace; for one that is not known, just kubernetes.io/metadata.name.
  const api::Labels& namespace_labels(std::string_view name) const;

  /// The pod that owns an address now, among selectable pods: Running before Pending, then the newest, then by uid and
  /// name (conformance A.7, D-13). An address of a node is never a pod's (N-06).
  const api::Pod* pod_by_ip(const net::IpAddr& ip) const;
  const api::Node* node_by_ip(const net::IpAddr& ip) const;

  friend bool operator==(const Cluster& a, const Cluster& b);

 private:
  bool upsert(api::Namespace object);
  bool upsert(api::Node object);
  bool upsert(api::Pod object);
  bool upsert(api::NetworkPolicy object);
  void share_with_neighbours(api::Pod& pod) const;
  bool remove(const Remove& event);

  std::map<std::string, api::Namespace, std::less<>> namespaces_;
  std::map<std::string, api::Node, std::less<>> nodes_;
  std::map<NamespacedName, api::Pod> pods_;
  std::map<NamespacedName, api::NetworkPolicy> policies_;
  mutable std::map<std::string, api::Labels, std::less<>> derived_labels_;
  AddressIndex<api::Pod, &api::Pod::ips> pods_by_ip_;  // selectable pods only
  AddressIndex<api::Node, &api::Node::addresses> nodes_by_ip_;
};

}  // namespace podfence::store
