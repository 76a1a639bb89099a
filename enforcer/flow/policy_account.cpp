#include "enforcer/flow/policy_account.h"

#include <algorithm>
#include <set>

namespace podfence::flow {

Traffic& Traffic::operator+=(const Traffic& other) {
  packets += other.packets;
  bytes += other.bytes;
  return *this;
}

bool PolicyAccount::use(const PolicySets& sets, TimePoint now) {
  bool grown = false;
  for (const auto& [key, policies] : sets) {
    grown = state_.sets.try_emplace(key, CountedSet{policies}).second || grown;
    idle_.erase(key);
  }
  for (const auto& [key, set] : state_.sets) {
    if (sets.count(key) == 0) idle_.try_emplace(key, now);
  }
  return grown;
}

bool PolicyAccount::sample(const Tallies& tallies, const std::string& epoch) {
  // One that cannot be told at the moment is no other table: all would be counted once more.
  const bool other_table = !epoch.empty() && !state_.epoch.empty() && epoch != state_.epoch;
  const bool news = !epoch.empty() && epoch != state_.epoch;
  if (news) state_.epoch = epoch;
  for (auto& [key, set] : state_.sets) {
    const auto found = tallies.find(key);
    const Traffic now = found == tallies.end() ? Traffic{} : found->second;
    // Where the epoch cannot be told, a count that became smaller tells.
    if (other_table || now.packets < set.last.packets) set.last = {};
    set.total += {now.packets - set.last.packets, now.bytes - set.last.bytes};
    set.last = now;
  }
  return news;
}

std::vector<program::TallyKey> PolicyAccount::retire(TimePoint now) {
  std::vector<program::TallyKey> keys;
  for (auto at = idle_.begin(); at != idle_.end();) {
    if (now - at->second < settle_time) {
      ++at;
      continue;
    }
    const auto set = state_.sets.find(at->first);
    for (const auto& policy : set->second.policies) {
      state_.retired[{at->first.first, policy}] += set->second.total;
    }
    keys.push_back(at->first);
    state_.sets.erase(set);
    at = idle_.erase(at);
  }
  return keys;
}

bool PolicyAccount::prune(const std::map<store::NamespacedName, api::NetworkPolicy>& policies, TimePoint now) {
  std::set<store::NamespacedName> missing;
  for (const auto& [key, traffic] : state_.retired) {
    if (policies.count(key.second) == 0) missing.insert(key.second);
  }
  std::erase_if(gone_, [&](const auto& entry) { return missing.count(entry.first) == 0; });
  for (const auto& policy : missing) gone_.try_emplace(policy, now);
  const auto before = state_.retired.size();
  std::erase_if(state_.retired, [&](const auto& entry) {
    const auto since = gone_.find(entry.first.second);
    return since != gone_.end() && now - since->second >= keep_time;
  });
  return state_.retired.size() != before;
}

std::vector<program::TallyKey> PolicyAccount::unknown(const Tallies& tallies) const {
  std::vector<program::TallyKey> keys;
  for (const auto& [key, traffic] : tallies) {
    if (state_.sets.count(key) == 0) keys.push_back(key);
  }
  return keys;
}

PolicyTraffic PolicyAccount::totals() const {
  PolicyTraffic totals = state_.retired;
  for (const auto& [key, set] : state_.sets) {
    for (const auto& policy : set.policies) totals[{key.first, policy}] += set.total;
  }
  return totals;
}

}  // namespace podfence::flow
