#pragma once
// Reads a flow log back while it is written and rotated: every line once, in the order in which they were written.
#include <cstdint>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "enforcer/flow/filter.h"
#include "enforcer/flow/history.h"
#include "policy/base/result.h"

namespace podfence::flow {

/// Holds the live file open, so that a rotation takes nothing from it. What was written before open() is the past, the
/// rest comes with poll().
class Reader {
 public:
  /// Called for lines that match, with the line as it was written; answers false to end the call that it is in.
  using Each = std::function<bool(const LoggedLine& line, std::string_view json)>;

  /// No file at all, neither the live one nor a rotated one, is an error.
  static Result<std::unique_ptr<Reader>> open(std::string path, Filter filter);

  /// The past, oldest first.
  Result<> past(const Each& each);
  /// The last lines of the past, at most that many, oldest first.
  Result<> last(std::size_t most, const Each& each);
  /// What was written since open() or the last poll().
  Result<> poll(const Each& each);

  /// Lines that were met so far and are none of this schema.
  std::size_t foreign() const { return foreign_; }

  /// Where the filter asks for labels: records of pods that hold none, because none were asked for when they were
  /// written; and the keys asked for that no record holds.
  std::size_t unlabelled() const { return unlabelled_; }
  const std::set<std::string>& unseen_labels() const { return unseen_labels_; }

 private:
  Reader(std::string path, Filter filter);
  void note_labels(const LoggedLine& line);

  /// Opens the live file at its beginning; false when there is none.
  bool open_live();
  /// Rotated files, oldest first: those behind `after` (all without it), and before the live one.
  std::vector<std::string> rotated(const std::optional<FilePosition>& after) const;
  /// Rotated files that may hold something that is new enough.
  std::vector<std::string> recent() const;
  bool take(std::string_view json, const Each& each);
  Result<> read_file(const std::string& file, const Each& each);
  Result<> read_live(const Each& each);

  std::string path_;
  Filter filter_;
  LineParser parser_;
  std::ifstream live_;
  FilePosition position_;  // of the live file: what is before it has been read or is the past
  std::uint64_t past_end_ = 0;
  std::size_t foreign_ = 0;
  bool wants_labels_;
  std::size_t unlabelled_ = 0;
  std::set<std::string> unseen_labels_;
  bool more_ = true;  // of the call that is under way
};

}  // namespace podfence::flow
