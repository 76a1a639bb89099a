#include "tests/support/shrink.h"

#include <functional>

namespace podfence::test {
namespace {

class Shrinker {
 public:
  Shrinker(World world, const std::function<bool(const World&)>& fails) : world_(std::move(world)), fails_(fails) {}

  World run() {
    do {
      smaller_ = false;
      drop_each(world_.objects);
      for (api::Object& object : world_.objects) {
        if (auto* pod = std::get_if<api::Pod>(&object)) shrink(*pod);
        if (auto* node = std::get_if<api::Node>(&object)) shrink(*node);
        if (auto* policy = std::get_if<api::NetworkPolicy>(&object)) shrink(*policy);
        if (auto* space = std::get_if<api::Namespace>(&object)) drop_each(space->meta.labels);
      }
    } while (smaller_);
    return std::move(world_);
  }

 private:
  /// Every list is a part of world_, so that what is dropped is dropped there.
  template <class T>
  void drop_each(SharedList<T>& list) {
    drop_each(list.edit());
  }
  template <class T>
  void drop_each(std::vector<T>& list) {
    for (std::size_t i = list.size(); i-- > 0;) {
      T dropped = std::move(list[i]);
      const auto at = list.begin() + static_cast<std::ptrdiff_t>(i);
      list.erase(at);
      if (fails_(world_)) {
        smaller_ = true;
      } else {
        list.insert(list.begin() + static_cast<std::ptrdiff_t>(i), std::move(dropped));
      }
    }
  }

  template <class T>
  void set(T& field, T simpler) {
    if (field == simpler) return;
    std::swap(field, simpler);
    if (fails_(world_)) {
      smaller_ = true;
    } else {
      std::swap(field, simpler);
    }
  }

  void shrink(api::Pod& pod) {
    drop_each(pod.ips);
    drop_each(pod.meta.labels);
    drop_each(pod.named_ports);
    set(pod.host_network, false);
    set(pod.phase, api::Phase::running);
    set(pod.meta.terminating, false);
    set(pod.meta.created, std::int64_t{0});
  }

  void shrink(api::Node& node) {
    drop_each(node.addresses);
    drop_each(node.pod_cidrs);
  }

  void shrink(api::NetworkPolicy& policy) {
    drop_each(policy.pod_selector.requirements);
    for (auto* rules : {&policy.ingress, &policy.egress}) {
      drop_each(*rules);
      for (api::PolicyRule& rule : *rules) shrink(rule);
    }
    if (policy.ingress.empty()) set(policy.isolates_ingress, false);
    if (policy.egress.empty()) set(policy.isolates_egress, false);
  }

  void shrink(api::PolicyRule& rule) {
    set(rule.any_peer, true);
    set(rule.any_port, true);
    drop_each(rule.peers);
    drop_each(rule.ports);
    for (api::Peer& peer : rule.peers) {
      if (auto* block = std::get_if<api::IpBlock>(&peer)) drop_each(block->except);
      if (auto* pods = std::get_if<api::PodPeer>(&peer)) {
        drop_each(pods->pods.requirements);
        if (pods->namespaces) drop_each(pods->namespaces->requirements);
      }
    }
  }

  World world_;
  const std::function<bool(const World&)>& fails_;
  bool smaller_ = false;
};

}  // namespace

World shrunk(World world, const std::function<bool(const World&)>& fails) {
  return Shrinker(std::move(world), fails).run();
}

}  // namespace podfence::test
