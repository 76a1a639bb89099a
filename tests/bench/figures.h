#pragma once
// One line of the report: a figure, what it is measured against in the same run, the ratio, and the target.
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <string>
#include <vector>

namespace podfence::bench {

inline double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// Microseconds of CPU that this thread used so far.
inline double cpu_us() {
  timespec t{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_nsec) / 1e3;
}

inline double wall_us() {
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_nsec) / 1e3;
}

/// `met` says whether the target was reached: shown, never an exit code (machines are shared and noisy).
inline void report(const std::string& figure, const std::string& value, const std::string& target, bool met) {
  std::printf("  %-62s %-30s target %-12s %s\n", figure.c_str(), value.c_str(), target.c_str(), met ? "met" : "MISSED");
  std::fflush(stdout);
}

inline std::string text(double value, const char* format = "%.2f") {
  char out[64];
  std::snprintf(out, sizeof(out), format, value);
  return out;
}

}  // namespace podfence::bench
