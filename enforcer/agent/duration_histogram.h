#pragma once
// How long something took, counted in buckets as Prometheus wants them.
#include <chrono>
#include <cstdint>
#include <vector>

namespace podfence::agent {

class DurationHistogram {
 public:
  void add(std::chrono::microseconds duration);

  /// Upper bounds, in seconds.
  static const std::vector<double>& bounds();
  /// One for each bound, not cumulated, and one for what lies above the last.
  const std::vector<std::uint64_t>& counts() const { return counts_; }
  double sum_seconds() const { return std::chrono::duration<double>(sum_).count(); }

 private:
  std::vector<std::uint64_t> counts_ = std::vector<std::uint64_t>(bounds().size() + 1);
  std::chrono::microseconds sum_{0};
};

}  // namespace podfence::agent
