#pragma once
// How often may be asked: the pauses of one type after failures, and what all types of an agent may ask together.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>

namespace podfence::reflector {

using Time = std::chrono::steady_clock::time_point;
using Duration = std::chrono::steady_clock::duration;

/// Uniform in [0, 1).
using Random = std::function<double()>;

inline Duration scaled(Duration d, double factor) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(d) * factor);
}

/// 800 ms, doubled each time up to 30 s, and up to as much again at random. After two minutes without a pause it begins
/// anew.
class Backoff {
 public:
  Duration next(Time now, const Random& random) {
    if (last_ && now - *last_ > std::chrono::minutes(2)) pause_ = first;
    const auto pause = pause_ + scaled(pause_, random());
    pause_ = std::min(pause_ * 2, longest);
    last_ = now + pause;
    return pause;
  }

 private:
  static constexpr Duration first = std::chrono::milliseconds(800);
  static constexpr Duration longest = std::chrono::seconds(30);
  Duration pause_ = first;
  std::optional<Time> last_;  // the end of the last pause
};

/// One request a second in the long run, twenty-four at once (a node's watches of pods may be seventeen); five lists at
/// a time. What can wait leaves some of them to others.
class Budget {
 public:
  /// Nothing: go ahead, and it is counted. Otherwise the time at which to ask again.
  enum class For : std::uint8_t { watch, list, audit };
  std::optional<Time> admit(Time now, For what) {
    if (!filled_) filled_ = now;
    tokens_ = std::min(most_at_once, tokens_ + std::chrono::duration<double>(now - *filled_).count());
    filled_ = now;
    if (what == For::list && lists_ >= most_lists) return now + std::chrono::milliseconds(200);
    const double least = what == For::audit ? 5 : 1;
    if (tokens_ < least) return now + scaled(std::chrono::seconds(1), least + 0.001 - tokens_);
    tokens_ -= 1;
    if (what == For::list) ++lists_;
    return std::nullopt;
  }
  void list_ended() { --lists_; }

 private:
  static constexpr double most_at_once = 24;
  static constexpr int most_lists = 5;
  double tokens_ = most_at_once;
  int lists_ = 0;
  std::optional<Time> filled_;
};

}  // namespace podfence::reflector
