#include "enforcer/reflector/gate.h"

#include <iterator>
#include <utility>

namespace podfence::reflector {

std::vector<store::Event> Gate::pass(std::vector<Item> items, bool ready, Time now) {
  if (ready) overdue_ = false;
  if (!ready && !held_.empty() && now >= since_ + longest_wait) overdue_ = true;
  const bool is_open = ready || overdue_;
  std::vector<store::Event> passing;
  if (is_open) {
    passing = std::exchange(held_, {});
    keys_.clear();
  }
  for (auto& item : items) {
    auto key = store::key_of(item.event);
    if (is_open || (!item.waits && !keys_.contains(key))) {
      passing.push_back(std::move(item.event));
      continue;
    }
    if (held_.empty()) since_ = now;
    keys_.insert(std::move(key));
    held_.push_back(std::move(item.event));
  }
  return passing;
}

}  // namespace podfence::reflector
