#include "policy/compile/local_pods.h"

#include <algorithm>

namespace podfence::compile {

using program::Shape;

void LocalPods::update_owners(const store::Cluster& cluster, const std::string& node, const Addresses& dirty) {
  for (const net::IpAddr& ip : dirty) {
    const auto before = owners_.find(ip);
    const api::Pod* owner = cluster.pod_by_ip(ip);
    if (owner != nullptr && owner->node != node) owner = nullptr;
    if (before == owners_.end() && owner == nullptr) continue;
    if (before != owners_.end()) {
      LocalPod& pod = pods_.at(before->second);
      pod.dirty = true;
      pod.addresses.erase(std::remove(pod.addresses.begin(), pod.addresses.end(), ip), pod.addresses.end());
      owners_.erase(before);
    }
    if (owner != nullptr) {
      store::NamespacedName key(owner->meta.namespace_, owner->meta.name);
      LocalPod& pod = pods_[key];
      pod.dirty = true;
      pod.addresses.insert(std::upper_bound(pod.addresses.begin(), pod.addresses.end(), ip), ip);
      owners_.emplace(ip, std::move(key));
    }
  }
}

void LocalPods::mark_subjects_of(const store::Cluster& cluster, const store::NamespacedName& policy) {
  const api::NetworkPolicy* now = cluster.find_policy(policy.first, policy.second);
  for (auto at = pods_.lower_bound({policy.first, ""}); at != pods_.end() && at->first.first == policy.first; ++at) {
    LocalPod& pod = at->second;
    const api::Pod* object = cluster.find_pod(at->first.first, at->first.second);
    const bool selected = now != nullptr && object != nullptr && now->pod_selector.matches(object->meta.labels);
    if (selected || std::binary_search(pod.policies.begin(), pod.policies.end(), policy)) pod.dirty = true;
  }
}

void LocalPods::update_policies(const store::Cluster& cluster, RelevantPolicies& policies) {
  for (auto& [key, pod] : pods_) {
    if (!pod.dirty) continue;
    std::vector<store::NamespacedName> selecting;
    const api::Pod* object = pod.addresses.empty() ? nullptr : cluster.find_pod(key.first, key.second);
    if (object != nullptr) {
      const auto& all = cluster.policies();
      for (auto at = all.lower_bound({key.first, ""}); at != all.end() && at->first.first == key.first; ++at) {
        if (at->second.pod_selector.matches(object->meta.labels)) selecting.push_back(at->first);
      }
    }
    for (const auto& policy : selecting) {
      if (!std::binary_search(pod.policies.begin(), pod.policies.end(), policy)) policies.add_subject(policy);
    }
    for (const auto& policy : pod.policies) {
      if (!std::binary_search(selecting.begin(), selecting.end(), policy)) policies.remove_subject(policy);
    }
    pod.policies = std::move(selecting);
  }
}

void LocalPods::settle(ChangeSink& sink) {
  for (auto at = pods_.begin(); at != pods_.end();) {
    LocalPod& pod = at->second;
    if (pod.dirty) {
      for (const Shape shape : {Shape::self, Shape::known}) {
        for (const net::IpAddr& ip : pod.addresses_before) {
          sink.remove({shape, net::Direction::ingress, ip.family()}, address_element(ip));
        }
        for (const net::IpAddr& ip : pod.addresses) {
          sink.add({shape, net::Direction::ingress, ip.family()}, address_element(ip));
        }
      }
      pod.addresses_before = pod.addresses;
      pod.dirty = false;
    }
    at = pod.addresses.empty() ? pods_.erase(at) : std::next(at);
  }
}

}  // namespace podfence::compile
