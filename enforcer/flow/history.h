#pragma once
// Reads flow logs back: the files of a log in their order, and their lines as values.
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "enforcer/flow/ledger.h"
#include "enforcer/flow/output.h"
#include "enforcer/flow/record.h"
#include "policy/base/result.h"

namespace podfence::flow {

/// DIR/rotated/NAME-20261123T173000.123456Z.jsonl for DIR/NAME.jsonl
std::string rotated_path(const std::string& path, TimePoint t);
/// Existing ones, oldest first.
std::vector<std::string> rotated_files(const std::string& path);

/// A line of a flow log. Of a loss only stage, lost, exact and the times are set; of an agent record only event and
/// detail; of a detection its name, severity, evidence, ends, detail and by.
struct LoggedLine {
  std::string type;  // "flow", "loss", "agent", "detection", or what a later version writes
  std::string id;
  std::string node;
  std::string cluster;
  TimePoint time;
  TimePoint end;
  TimePoint observed;
  std::string verdict;
  std::string action;
  std::string reason;
  std::string direction;
  std::string attribution;
  std::vector<PolicyRef> policies;
  bool policies_truncated = false;
  Endpoint source;
  Endpoint destination;
  std::string family;  // "ipv4", "ipv6"
  std::string transport;
  std::optional<std::uint64_t> protocol;  // its number
  std::string tcp_flags;
  std::optional<std::uint64_t> icmp_type;
  std::optional<std::uint64_t> icmp_code;
  bool reply = false;
  std::string interface;
  std::uint64_t count = 0;
  std::uint64_t bytes = 0;
  std::optional<Scan> scan;
  std::string stage;
  std::uint64_t lost = 0;
  bool exact = true;
  std::string event;
  std::string detail;
  std::string detection;
  std::string severity;
  std::vector<std::pair<std::string, std::uint64_t>> evidence;
  std::string by;
};

/// Keeps the parser's memory from line to line. What the writer of records would not have written is an error: another
/// schema, a line that is too long, a control character that is not escaped.
class LineParser {
 public:
  LineParser();
  ~LineParser();
  Result<LoggedLine> parse(std::string_view line);

 private:
  struct Parser;
  std::unique_ptr<Parser> parser_;
};

/// Calls `each` for every whole line from `offset` on, without its newline, until it answers false. A missing file is
/// an error.
Result<> for_each_line(const std::string& file, std::uint64_t offset,
                       const std::function<bool(std::string_view)>& each);
/// The same in a file that is open, for the lines that end at or before `end`; answers where the next line begins.
std::uint64_t for_each_line(std::istream& in, std::uint64_t offset, std::uint64_t end,
                            const std::function<bool(std::string_view)>& each);

/// What the lines that were written after that position account for.
Accounted accounted_after(const std::string& path, const FilePosition& position);

}  // namespace podfence::flow
