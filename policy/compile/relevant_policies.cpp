#include "policy/compile/relevant_policies.h"

#include <algorithm>
#include <utility>

namespace podfence::compile {

RelevantPolicy* RelevantPolicies::find(const store::NamespacedName& key) {
  const auto found = policies_.find(key);
  return found == policies_.end() ? nullptr : &found->second;
}

RelevantPolicy& RelevantPolicies::add_subject(const store::NamespacedName& key) {
  RelevantPolicy& policy = policies_[key];
  policy.name = key;
  if (policy.subjects++ == 0) touch(key);
  return policy;
}

void RelevantPolicies::remove_subject(const store::NamespacedName& key) {
  if (--policies_.at(key).subjects == 0) touch(key);
}

void RelevantPolicies::touch(const store::NamespacedName& key) {
  touched_.push_back(key);
}

void RelevantPolicies::release(const RelevantPolicy& policy) {
  for (const net::Direction direction : net::directions) {
    for (const HeldGrant& grant : policy.grants[index_of(direction)]) {
      if (grant.peer) specs_[index_of(direction)]->release(*grant.peer);
    }
  }
}

void RelevantPolicies::refresh(const store::Cluster& cluster) {
  std::vector<store::NamespacedName> keys = std::exchange(touched_, {});
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  for (const store::NamespacedName& key : keys) {
    const auto place = policies_.find(key);
    if (place == policies_.end()) continue;
    RelevantPolicy next;
    next.name = key;
    next.subjects = place->second.subjects;
    const api::NetworkPolicy* policy = cluster.find_policy(key.first, key.second);
    for (const net::Direction direction : net::directions) {
      if (policy == nullptr || next.subjects == 0) continue;
      const std::size_t at = index_of(direction);
      next.isolates[at] = policy->isolates(direction);
      for (model::Grant& grant : model::grants_of(*policy, direction)) {
        HeldGrant held{std::nullopt, std::move(grant.ports), std::move(grant.local_names), std::nullopt};
        if (grant.peer) held.peer = specs_[at]->acquire(*grant.peer);
        if (grant.is_of_peer_port()) held.peer_port = grant.peer->port->protocol;
        next.grants[at].push_back(std::move(held));
      }
    }
    release(place->second);  // after the new ones are held: what both name does not come and go
    if (next.subjects == 0) {
      policies_.erase(place);
    } else {
      place->second = std::move(next);
    }
  }
}

}  // namespace podfence::compile
