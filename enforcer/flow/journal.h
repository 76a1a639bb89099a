#pragma once
// Writes lines to the configured output and keeps the durable account of what they account for. What cannot be written
// waits in a bounded queue; what leaves that queue unwritten is handed back, to be stated as lost.
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "enforcer/flow/account_file.h"
#include "enforcer/flow/ledger.h"
#include "enforcer/flow/output.h"
#include "policy/base/duration_histogram.h"

namespace podfence::flow {

struct JournalConfig {
  std::string flow_log;    // a path, "-" = standard output, "" = nowhere
  std::string state_file;  // of the account
  RotateLimits rotate;
  std::size_t most_waiting = 8192;  // lines
};

/// Windows of aggregation are 5, 10 and 20 s (aggregate.h), looked at once a second: each ends in a bucket of its own,
/// and what is more than that is a sink that does not take lines.
inline DurationHistogram flow_delays() {
  return DurationHistogram({0.5, 1, 2.5, 5, 6.5, 8, 11.5, 15, 21.5, 30, 60, 120, 300, 900});
}

struct OutLine {
  std::string text;
  Accounted account;                    // what it accounts for; nothing for agent records
  std::string stage;                    // of a loss record; empty for others
  std::optional<TimePoint> first = {};  // packet, of a flow record
};

class Journal {
 public:
  /// What earlier runs left. `adopt`: there is a log but no account of it, so that what the counters hold already must
  /// not be stated as lost.
  struct Restored {
    bool adopt = false;
    /// Why the account that there was is not gone on with; empty when it is, or when there was none.
    std::string ignored;
    Accounted accounted;
    std::uint64_t unconfirmed = 0;
    std::string epoch;
    std::map<std::string, CounterTotal> counters;
  };

  explicit Journal(JournalConfig config);

  const Restored& restored() const { return restored_; }
  std::string_view stage() const;

  void push(OutLine line);
  /// Writes what can be written now, rotates, and saves the account when it is time.
  void flush(const Ledger& ledger, TimePoint now);
  /// Saves the account whatever the time is.
  void save(const Ledger& ledger);
  /// Lines that left the queue unwritten since the last call.
  std::vector<OutLine> take_dropped();
  /// The path names a new file from now on (after a rotation by somebody else).
  void reopen();

  std::size_t waiting() const { return queue_.size(); }
  std::uint64_t lines_written() const { return lines_written_; }
  const Accounted& written() const { return written_; }
  /// Of flow records, from the first packet to the line.
  const DurationHistogram& delays() const { return delays_; }
  /// What hinders it, or hindered it last; empty when all is well.
  const std::string& error() const { return error_; }

 private:
  void restore();
  void open_output();
  bool is_pipe() const { return config_.flow_log == "-"; }
  AccountState state(const Ledger& ledger) const;
  void write_to_file(const Ledger& ledger, TimePoint now);
  void write_to_pipe(const Ledger& ledger, TimePoint now);
  bool write_front(TimePoint now);
  Accounted account_of_queue() const;
  void store(const AccountState& state);

  JournalConfig config_;
  Restored restored_;
  std::unique_ptr<Output> output_;
  FileOutput* file_ = nullptr;  // output_, when it is a file
  std::deque<OutLine> queue_;
  std::vector<OutLine> dropped_;
  Accounted written_;
  FilePosition position_;  // where the lines of written_ end, also while the file is not open
  std::optional<AccountState> saved_;
  TimePoint next_save_{};
  std::uint64_t lines_written_ = 0;
  std::string error_;
  DurationHistogram delays_ = flow_delays();
};

}  // namespace podfence::flow
