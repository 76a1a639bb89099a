#include "enforcer/agent/duration_histogram.h"

#include <algorithm>

namespace podfence::agent {

const std::vector<double>& DurationHistogram::bounds() {
  static const std::vector<double> bounds{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                                          0.05,   0.1,     0.25,   0.5,   1,      2.5,   5,    10};
  return bounds;
}

void DurationHistogram::add(std::chrono::microseconds duration) {
  const auto at = std::lower_bound(bounds().begin(), bounds().end(), std::chrono::duration<double>(duration).count());
  ++counts_[static_cast<std::size_t>(at - bounds().begin())];
  sum_ += duration;
}

}  // namespace podfence::agent
