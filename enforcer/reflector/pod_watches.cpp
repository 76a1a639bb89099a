#include "enforcer/reflector/pod_watches.h"

#include <algorithm>

namespace podfence::reflector {
namespace {

const PodWatch whole_cluster{};

}  // namespace

void PodWatches::mark(const std::set<PodWatch>& wanted, Time now) {
  deadline_.reset();
  for (auto& [watch, unwanted_since] : open_) {
    if (wanted.contains(watch)) {
      unwanted_since.reset();
      continue;
    }
    if (!unwanted_since) unwanted_since = now;
    const auto end = *unwanted_since + linger_;
    if (end > now) deadline_ = deadline_ ? std::min(*deadline_, end) : end;
  }
}

PodWatches::Plan PodWatches::update(const std::set<PodWatch>& wanted, const Synced& synced, Time now) {
  Plan plan;
  mark(wanted, now);
  const auto shows = [&](const PodWatch& watch) { return open_.contains(watch) && synced(watch); };
  const auto cluster = open_.find(whole_cluster);
  const bool covers = shows(whole_cluster);
  const bool lingers = covers && !is_over(cluster->second, now);
  for (const auto& watch : wanted) {
    if (open_.contains(watch) || (lingers && watch != whole_cluster)) continue;
    open_.emplace(watch, std::nullopt);
    plan.open.push_back(watch);
  }
  const auto is_new = [&](const PodWatch& watch) {
    return std::find(plan.open.begin(), plan.open.end(), watch) != plan.open.end();
  };
  const auto is_shown = [&](const PodWatch& watch) { return !is_new(watch) && shows(watch); };
  const bool all_shown = std::all_of(wanted.begin(), wanted.end(), is_shown);
  ready_ = all_shown || covers;
  std::erase_if(open_, [&](const auto& entry) {
    const auto& [watch, unwanted_since] = entry;
    if (!unwanted_since) return false;
    const bool is_needless = watch == whole_cluster
                                 ? all_shown || !covers
                                 : (covers && wanted.contains(whole_cluster)) || is_over(unwanted_since, now);
    if (is_needless) plan.drop.push_back(watch);
    return is_needless;
  });
  return plan;
}

}  // namespace podfence::reflector
