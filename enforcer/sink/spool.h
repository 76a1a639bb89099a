#pragma once
// The flow log's files as the queue of a sink: bounded by the log's own quota, there after a restart, and nobody's
// memory. It remembers how far its sink has come; lines come at least once, in their order. What the quota deleted
// before it was sent is counted, by the records' numbers.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "enforcer/flow/history.h"
#include "policy/base/result.h"

namespace podfence::sink {

/// Where a sink is in the flow log.
struct Position {
  flow::FilePosition file;
  std::string instance;        // of the record before it: "node:instance"
  std::uint64_t sequence = 0;  // the same
  friend bool operator==(const Position&, const Position&) = default;
};

struct Batch {
  std::vector<std::string> lines;  // JSON, without newlines
  Position end;                    // after the last of them
  std::uint64_t missed = 0;        // records between the batch before and this one that are gone
};

class Spool {
 public:
  /// Goes on where `state_file` says; a sink without one begins with what is written from now on.
  static Result<Spool> open(std::string flow_log, std::string state_file);

  /// What comes next: at most so many lines and bytes, but one line at least; empty when there is nothing.
  Batch next(std::size_t most_lines, std::size_t most_bytes) const;
  /// All up to the end of that batch is done with. On disk when it returns (not synced).
  Result<> commit(const Batch& batch);

  const Position& position() const { return position_; }

 private:
  Spool(std::string flow_log, std::string state_file)
      : flow_log_(std::move(flow_log)), state_file_(std::move(state_file)) {}
  Result<bool> load();
  Result<> save() const;

  std::string flow_log_;
  std::string state_file_;
  Position position_;
};

}  // namespace podfence::sink
