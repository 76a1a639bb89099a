#pragma once
// What keys meant a short while ago: for each key the values that it had before its last changes. A change becomes
// known (pending) before it takes effect, and takes effect at some point between `begin` and `end`.
#include <algorithm>
#include <cstddef>
#include <deque>
#include <map>
#include <utility>
#include <vector>

#include "enforcer/flow/time.h"

namespace podfence::flow {

template <class Key, class Value>
class Timeline {
 public:
  struct Change {
    TimePoint begin = TimePoint::max();  // max: pending, the old value holds still
    TimePoint end = TimePoint::max();
    Value before;
    bool pending() const { return end == TimePoint::max(); }
  };

  bool has_pending(const Key& key) const {
    const auto found = changes_.find(key);
    return found != changes_.end() && found->second.back().pending();
  }

  void announce(const Key& key, Value before) {
    changes_[key].push_back({TimePoint::max(), TimePoint::max(), std::move(before)});
    pending_.push_back(key);
  }

  /// The pending changes took effect between begin and end. Those for which `unchanged(key, before)` are forgotten.
  template <class Unchanged>
  void settle(TimePoint begin, TimePoint end, Unchanged unchanged) {
    for (const Key& key : pending_) {
      const auto found = changes_.find(key);
      std::vector<Change>& all = found->second;
      if (!unchanged(key, all.back().before)) {
        all.back().begin = begin;
        all.back().end = end;
        order_.emplace_back(end, key);
        continue;
      }
      all.pop_back();
      if (all.empty()) changes_.erase(found);
    }
    pending_.clear();
  }

  /// The change that ended the value of time t; nothing when t has the present value.
  const Change* after(const Key& key, TimePoint t) const {
    const auto found = changes_.find(key);
    if (found == changes_.end()) return nullptr;
    for (const Change& change : found->second) {
      if (t < change.end) return &change;
    }
    return nullptr;
  }

  /// When the value of time t began: 0 when that is longer ago than we remember.
  TimePoint since(const Key& key, TimePoint t) const {
    TimePoint latest{};
    const auto found = changes_.find(key);
    if (found == changes_.end()) return latest;
    for (const Change& change : found->second) {
      if (change.begin <= t) latest = std::max(latest, change.begin);
    }
    return latest;
  }

  /// t moved to the end of a change that was under way at t.
  TimePoint past_change(const Key& key, TimePoint t) const {
    const Change* change = after(key, t);
    return change != nullptr && change->begin <= t ? change->end : t;
  }

  /// Forgets what ended before `oldest`, and more where there are more than `most` changes. The time back to which the
  /// memory is whole; the minimum when nothing was forgotten.
  TimePoint forget(TimePoint oldest, std::size_t most) {
    TimePoint whole_since = TimePoint::min();
    while (!order_.empty() && (order_.front().first < oldest || order_.size() > most)) {
      const auto found = changes_.find(order_.front().second);
      whole_since = order_.front().first;
      found->second.erase(found->second.begin());
      if (found->second.empty()) changes_.erase(found);
      order_.pop_front();
    }
    return whole_since;
  }

  const std::map<Key, std::vector<Change>>& changes() const { return changes_; }
  std::size_t size() const { return order_.size(); }

 private:
  std::map<Key, std::vector<Change>> changes_;  // of a key in their order, the pending one last
  std::vector<Key> pending_;
  std::deque<std::pair<TimePoint, Key>> order_;  // of what took effect
};

}  // namespace podfence::flow
