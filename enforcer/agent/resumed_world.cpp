#include "enforcer/agent/resumed_world.h"

#include <algorithm>

#include "policy/store/difference.h"

namespace podfence::agent {
namespace {

std::string uid_in(const store::Cluster& cluster, const api::ObjectKey& key) {
  const auto uid_of = [](const auto* object) { return object == nullptr ? Text() : object->meta.uid; };
  switch (key.kind) {
    case api::Kind::namespace_:
      return uid_of(cluster.find_namespace(key.name));
    case api::Kind::node:
      return uid_of(cluster.find_node(key.name));
    case api::Kind::pod:
      return uid_of(cluster.find_pod(key.namespace_, key.name));
    case api::Kind::network_policy:
      break;
  }
  return uid_of(cluster.find_policy(key.namespace_, key.name));
}

std::string uid_of(const store::Event& event) {
  const auto* upsert = std::get_if<store::Upsert>(&event);
  return upsert == nullptr ? std::get<store::Remove>(event).uid : std::string(api::meta_of(upsert->object).uid);
}

}  // namespace

ResumedWorld::ResumedWorld(const archive::Origin& origin, std::string node)
    : node_(std::move(node)), cluster_(origin.cluster), narrow_(origin.narrow.begin(), origin.narrow.end()) {}

std::vector<store::Event> ResumedWorld::take(std::vector<store::Event> events, const Problems& problems,
                                             const store::Cluster* whole) {
  if (whole_) {
    const auto stays = [&](const store::Event& event) {
      const auto object = store::key_of(event).text();
      const auto kept = kept_.find(object);
      if (kept == kept_.end()) return false;
      const auto problem = problems.find(object);
      if (problem != problems.end() && !problem->second.stale && kept->second == uid_of(event)) return true;
      kept_.erase(kept);
      return false;
    };
    if (!kept_.empty()) events.erase(std::remove_if(events.begin(), events.end(), stays), events.end());
    return events;
  }
  for (auto& event : events) said_.apply(std::move(event));
  if (whole == nullptr) return {};
  whole_ = true;
  auto news = difference(*whole, problems);
  said_ = {};
  return news;
}

bool ResumedWorld::had_good_content(const std::string& object, const Problems& problems) const {
  const auto problem = problems.find(object);
  return problem != problems.end() && !problem->second.stale && narrow_.count(object) == 0;
}

std::vector<store::Event> ResumedWorld::difference(const store::Cluster& in_force, const Problems& problems) {
  const auto* system = said_.find_namespace("kube-system");
  of_another_cluster_ = !cluster_.empty() && system != nullptr && system->meta.uid != cluster_;
  auto events = store::difference(in_force, said_);
  const auto stays = [&](const store::Event& event) {
    const auto key = store::key_of(event);
    if (!had_good_content(key.text(), problems)) return false;
    auto uid = uid_in(in_force, key);
    // Of an object that cannot be read at all nothing was said.
    if (uid.empty() || (std::holds_alternative<store::Upsert>(event) && uid != uid_of(event))) return false;
    kept_.emplace(key.text(), std::move(uid));
    return true;
  };
  events.erase(std::remove_if(events.begin(), events.end(), stays), events.end());
  // Pods of this node are in force with their sandboxes' addresses: whether they are as before shows only there.
  for (const auto& [name, pod] : said_.pods()) {
    if (pod.node == node_) events.emplace_back(store::Upsert{pod});
  }
  return events;
}

std::chrono::milliseconds first_pause(std::size_t nodes, double random) {
  const double most = std::min(10'000.0, static_cast<double>(nodes) * 10);
  return std::chrono::milliseconds(static_cast<std::int64_t>(most * random));
}

}  // namespace podfence::agent
