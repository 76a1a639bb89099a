#include "policy/scope/scope.h"

#include <algorithm>
#include <map>
#include <vector>

#include "policy/base/overloaded.h"
#include "policy/model/grant.h"

namespace podfence::scope {
namespace {

using LabelsOfPods = std::vector<api::Labels>;

/// Namespaces by selector, each selector looked through once.
class Namespaces {
 public:
  explicit Namespaces(const store::Cluster& cluster) : cluster_(cluster) {}

  const std::vector<std::string>& of(const api::LabelSelector& selector) {
    const auto [place, is_new] = found_.try_emplace(selector);
    if (!is_new) return place->second;
    for (const auto& [name, object] : cluster_.namespaces()) {
      if (selector.matches(object.meta.labels)) place->second.push_back(name);
    }
    return place->second;
  }

 private:
  const store::Cluster& cluster_;
  std::map<api::LabelSelector, std::vector<std::string>> found_;
};

void add_peer(const model::PeerSpec& peer, Namespaces& namespaces, Scope& scope) {
  if (const auto* pods = std::get_if<model::PodsOf>(&peer.who)) {
    std::visit(overloaded{
                   [&](const std::string& name) { scope.namespaces.insert(name); },
                   [&](const api::LabelSelector& selector) {
                     if (selector.matches_everything()) {
                       scope.everything = true;
                     } else {
                       const auto& matching = namespaces.of(selector);
                       scope.namespaces.insert(matching.begin(), matching.end());
                     }
                   },
               },
               pods->namespaces);
  } else if (peer.port) {
    scope.everything = true;  // a named port of whichever pod has an address in the block
  }
}

void add_policy(const api::NetworkPolicy& policy, Namespaces& namespaces, Scope& scope) {
  for (const net::Direction direction : net::directions) {
    for (const auto& grant : model::grants_of(policy, direction)) {
      if (grant.peer) add_peer(*grant.peer, namespaces, scope);
    }
  }
}

}  // namespace

bool Scoper::concerns(const store::Event& event) const {
  return std::visit(overloaded{
                        [&](const store::Upsert& upsert) {
                          if (const auto* pod = std::get_if<api::Pod>(&upsert.object)) return pod->node == node_;
                          return !std::holds_alternative<api::Node>(upsert.object);
                        },
                        [&](const store::Remove& remove) {
                          if (remove.key.kind == api::Kind::pod) {
                            return known_.find_pod(remove.key.namespace_, remove.key.name) != nullptr;
                          }
                          return remove.key.kind != api::Kind::node;
                        },
                    },
                    event);
}

bool Scoper::apply(const store::Event& event) {
  if (!concerns(event)) {
    const auto* upsert = std::get_if<store::Upsert>(&event);
    const auto* pod = upsert == nullptr ? nullptr : std::get_if<api::Pod>(&upsert->object);
    if (pod == nullptr || known_.find_pod(pod->meta.namespace_, pod->meta.name) == nullptr) return false;
    return known_.apply(store::Remove{api::key_of(upsert->object), ""});  // made again under its name, elsewhere
  }
  if (const auto* upsert = std::get_if<store::Upsert>(&event)) {
    if (const auto* pod = std::get_if<api::Pod>(&upsert->object)) {
      api::Pod only;
      only.meta.namespace_ = pod->meta.namespace_;
      only.meta.name = pod->meta.name;
      only.meta.uid = pod->meta.uid;
      only.meta.labels = pod->meta.labels;
      only.host_network = pod->host_network;
      return known_.apply(store::Upsert{std::move(only)});
    }
  }
  return known_.apply(event);
}

Scope Scoper::scope() const {
  std::map<Text, LabelsOfPods> pods;
  for (const auto& [name, pod] : known_.pods()) {
    if (!pod.host_network) pods[pod.meta.namespace_].push_back(pod.meta.labels);
  }
  Scope scope;
  Namespaces namespaces(known_);
  for (const auto& [in, labels] : pods) {
    for (auto policy = known_.policies().lower_bound({in, Text()});
         policy != known_.policies().end() && policy->first.first == in; ++policy) {
      const auto selects = [&](const api::Labels& of) { return policy->second.pod_selector.matches(of); };
      if (std::any_of(labels.begin(), labels.end(), selects)) add_policy(policy->second, namespaces, scope);
    }
  }
  return scope;
}

}  // namespace podfence::scope
