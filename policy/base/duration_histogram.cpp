#include "policy/base/duration_histogram.h"

#include <algorithm>

namespace podfence {

void DurationHistogram::add(std::chrono::microseconds duration) {
  duration = std::max(duration, std::chrono::microseconds{0});
  const auto at = std::lower_bound(bounds_.begin(), bounds_.end(), std::chrono::duration<double>(duration).count());
  ++counts_[static_cast<std::size_t>(at - bounds_.begin())];
  sum_ += duration;
}

}  // namespace podfence
