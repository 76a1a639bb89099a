#pragma once
// Where lines go: a port with one implementation for each kind of sink.
#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "enforcer/flow/time.h"
#include "policy/base/result.h"

namespace podfence::flow {

class Output {
 public:
  virtual ~Output() = default;
  /// As in a loss stage: "sink:file".
  virtual std::string_view stage() const = 0;
  /// One line with its newline: all of it or, on an error, nothing of it.
  virtual Result<> write(std::string_view line) = 0;
};

struct RotateLimits {
  std::uint64_t file_bytes = 64ULL * 1024 * 1024;    // of the live file
  std::uint64_t total_bytes = 512ULL * 1024 * 1024;  // of it and the rotated ones
};

/// Where in which file: what a restart needs to know which lines came later.
struct FilePosition {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::uint64_t offset = 0;
  friend bool operator==(const FilePosition&, const FilePosition&) = default;
};

/// Appends to PATH; full files become DIR/rotated/NAME-<time>.jsonl, which no collector's glob of the live file
/// matches.
class FileOutput final : public Output {
 public:
  /// Makes missing directories. A torn last line (the writer was killed) is cut off.
  static Result<std::unique_ptr<FileOutput>> open(std::string path, RotateLimits limits);
  ~FileOutput() override;
  FileOutput(const FileOutput&) = delete;
  FileOutput& operator=(const FileOutput&) = delete;

  std::string_view stage() const override { return "sink:file"; }
  Result<> write(std::string_view line) override;

  FilePosition position() const { return position_; }
  bool full(std::size_t more) const { return position_.offset > 0 && position_.offset + more > limits_.file_bytes; }
  Result<> rotate(TimePoint now);
  /// Deletes the oldest rotated files beyond the quota, but none that is as new as the file at `keep`.
  void prune(const FilePosition& keep);
  /// Whether the path names another file now, or ours was cut short: then reopen().
  bool moved() const;
  Result<> reopen();

 private:
  FileOutput(std::string path, RotateLimits limits);

  std::string path_;
  RotateLimits limits_;
  int fd_ = -1;
  FilePosition position_;
};

/// Standard output. A reader that is slow makes it refuse lines; it never waits.
class StdoutOutput final : public Output {
 public:
  StdoutOutput();
  ~StdoutOutput() override;
  StdoutOutput(const StdoutOutput&) = delete;
  StdoutOutput& operator=(const StdoutOutput&) = delete;

  std::string_view stage() const override { return "sink:stdout"; }
  Result<> write(std::string_view line) override;

 private:
  Result<> push(std::string& bytes);

  int fd_;
  bool own_;
  std::string rest_;  // of a line that the pipe took a part of
};

/// Nowhere: for an agent that only counts.
class NoOutput final : public Output {
 public:
  std::string_view stage() const override { return "sink:none"; }
  Result<> write(std::string_view) override { return {}; }
};

}  // namespace podfence::flow
