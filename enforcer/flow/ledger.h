#pragma once
// The account: records + stated losses == what the kernel counted. It is told what the counters say, what was received,
// and where the sequence had gaps, and answers with losses to state. It never states a packet lost that may still
// arrive, and never more than the counters have. Pure: no clock, no I/O. The argument is in README.md.
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "enforcer/flow/time.h"

namespace podfence::flow {

inline constexpr std::string_view stage_limit = "kernel_limit";
inline constexpr std::string_view stage_gap = "nflog_seq_gap";
inline constexpr std::string_view stage_tail = "nflog_tail";

/// Packets of every named counter, read at one time.
struct CounterSample {
  /// Differs when the table was made anew and its counters began at 0; may be empty (then only a counter that became
  /// smaller tells).
  std::string epoch;
  std::map<std::string, std::uint64_t> packets;
};

/// A counter since the account began, over all tables.
struct CounterTotal {
  std::uint64_t last = 0;
  std::uint64_t total = 0;
  friend bool operator==(const CounterTotal&, const CounterTotal&) = default;
};

/// Packets that records and stated losses account for.
struct Accounted {
  std::uint64_t logged = 0;   // dropped with a log message, whether it arrived or not
  std::uint64_t limited = 0;  // dropped over the log rates, without one
  friend bool operator==(const Accounted&, const Accounted&) = default;
};

struct Loss {
  std::string_view stage;
  std::uint64_t lost = 0;
};

class Ledger {
 public:
  /// How long after a counter was read a message that it counts may still be on its way.
  static constexpr std::chrono::milliseconds settle_time{900};

  /// An account from nothing: all that the counters hold is still to be accounted for.
  Ledger() = default;
  /// Goes on where another stopped.
  Ledger(std::map<std::string, CounterTotal> counters, std::string epoch, Accounted accounted);
  /// Begins with the next sample: what it holds is somebody else's account.
  void adopt_next_sample() { adopt_ = true; }

  /// A message arrived; `gap` messages before it were lost. Those of foreign rules are not `ours`.
  void received(bool ours, std::uint32_t gap);
  /// The counters, read after everything received so far.
  void sample(const CounterSample& sample, TimePoint now);
  /// After the socket was read: `drained` when nothing was left in it. What to state as lost now.
  std::vector<Loss> settle(TimePoint now, bool drained);

  /// All that was dropped, by the last sample.
  std::uint64_t dropped() const { return drops_; }
  std::uint64_t limited() const { return limits_; }
  const Accounted& accounted() const { return accounted_; }
  const std::map<std::string, CounterTotal>& counters() const { return counters_; }
  const std::string& epoch() const { return epoch_; }

 private:
  struct Waiting {
    std::uint64_t drops;
    TimePoint time;
  };

  std::map<std::string, CounterTotal> counters_;
  std::string epoch_;
  std::uint64_t drops_ = 0;
  std::uint64_t limits_ = 0;
  std::uint64_t earlier_limits_ = 0;  // of the sample before
  Accounted accounted_;
  std::uint64_t accounted_before_ = 0;  // logged, when the last settle() ended
  std::uint64_t new_gap_ = 0;           // seen since the last sample
  std::uint64_t due_gap_ = 0;           // seen before it
  std::uint64_t tail_credit_ = 0;       // stated as tail since the last message: its gap will show them again
  std::optional<Waiting> waiting_;
  bool adopt_ = false;
};

}  // namespace podfence::flow
