#include "enforcer/reflector/overlap.h"

#include <algorithm>

#include "enforcer/reflector/revision.h"

namespace podfence::reflector {
namespace {

bool is_shown(const Watches& watches, const api::ObjectKey& key) {
  return std::any_of(watches.begin(), watches.end(), [&](const auto* watch) { return watch->held().version_of(key); });
}

/// Whether one will show, or would have to show, what happened to an object of that namespace at `version`.
bool may_yet_be_shown(const Watches& watches, const api::ObjectKey& key, std::uint64_t version) {
  return std::any_of(watches.begin(), watches.end(), [&](const auto* watch) {
    const auto& resource = watch->resource();
    const bool covers = resource.namespace_.empty() || resource.namespace_ == key.namespace_;
    return covers && watch->status().synced && is_newer(version, version_of(watch->status().cursor));
  });
}

}  // namespace

std::vector<store::Event> Overlap::news(const Watches& all, const Reflector& from, std::vector<store::Event> events) {
  if (all.size() < 2 && orphans_.empty()) return events;
  std::erase_if(events, [&](store::Event& event) {
    const auto key = store::key_of(event);
    if (auto* gone = std::get_if<store::Remove>(&event)) {
      gone->uid.clear();  // whichever of that name was shown last
      return is_shown(all, key);
    }
    const auto version = from.held().version_of(key);
    return version && std::any_of(all.begin(), all.end(), [&](const Reflector* watch) {
             const auto has = watch->held().version_of(key);
             return watch != &from && has && is_newer(*has, *version);
           });
  });
  judge_orphans(all, events);
  return events;
}

std::vector<store::Event> Overlap::without(const Reflector& gone, const Watches& others) {
  gone.held().for_each([&](const api::ObjectKey& key, std::uint64_t version) { orphans_[key] = version; });
  std::vector<store::Event> events;
  judge_orphans(others, events);
  return events;
}

void Overlap::judge_orphans(const Watches& all, std::vector<store::Event>& events) {
  std::erase_if(orphans_, [&](const auto& orphan) {
    const auto& [key, version] = orphan;
    if (is_shown(all, key)) return true;
    if (may_yet_be_shown(all, key, version)) return false;
    events.emplace_back(store::Remove{key, ""});
    return true;
  });
}

}  // namespace podfence::reflector
