#pragma once
// How long something took, counted in buckets as Prometheus wants them.
#include <chrono>
#include <cstdint>
#include <utility>
#include <vector>

namespace podfence {

class DurationHistogram {
 public:
  /// Upper bounds of the buckets in seconds, ascending.
  explicit DurationHistogram(std::vector<double> bounds) : bounds_(std::move(bounds)) {}

  /// What took less than nothing took nothing: clocks are set.
  void add(std::chrono::microseconds duration);

  const std::vector<double>& bounds() const { return bounds_; }
  /// One for each bound, not cumulated, and one for what lies above the last.
  const std::vector<std::uint64_t>& counts() const { return counts_; }
  double sum_seconds() const { return std::chrono::duration<double>(sum_).count(); }

 private:
  std::vector<double> bounds_;
  std::vector<std::uint64_t> counts_ = std::vector<std::uint64_t>(bounds_.size() + 1);
  std::chrono::microseconds sum_{0};
};

}  // namespace podfence
