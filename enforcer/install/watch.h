#pragma once
// Passes for as long as it is asked to: one at the start, one whenever the runtime's directories change, one now and
// then. What somebody takes away or overwrites comes back within half a second; who does so again and again is answered
// ever more slowly, because each write makes the runtime read its configuration anew.
#include <chrono>
#include <functional>
#include <string>

#include "enforcer/install/install.h"

namespace podfence::install {

/// How long to wait before the next pass after one that repaired something, and from when on the peace counts again.
class Patience {
 public:
  using Clock = std::chrono::steady_clock;
  /// What to leave between a pass that ended at `now` and the next one.
  std::chrono::milliseconds after(bool repaired, Clock::time_point now);

 private:
  std::chrono::milliseconds pause_{0};
  Clock::time_point last_{};
};

struct WatchEvents {
  std::function<void(const Report&)> passed;  // only when it changed or said something new
  std::function<void(const Error&)> failed;   // only when it is another error than before
};

/// Until `stop` (a descriptor) becomes readable. What is installed stays.
Result<> watch(const Options& options, Runtime& runtime, const WatchEvents& events, int stop);

}  // namespace podfence::install
