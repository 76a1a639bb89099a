#pragma once
// The port to whatever holds the program: nftables, a printer (--dry-run), and in tests a fake that works on a copy.
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "policy/base/result.h"
#include "policy/diff/changes.h"
#include "policy/program/program.h"

namespace podfence::kernel {

/// What stands in the kernel. `intact` is false when sets, chains or rules are missing, foreign or another version's:
/// then only an install mends it, and `program` holds what could be read.
struct Readback {
  bool present = false;
  bool intact = false;
  std::string why;  // what is not intact
  program::Program program;
};

struct Counter {
  std::uint64_t packets = 0;
  std::uint64_t bytes = 0;
  friend bool operator==(const Counter&, const Counter&) = default;
};

/// A commit that the kernel refused, and what it refused where it says so.
struct Refusal {
  Error error;
  std::optional<program::SetId> set;
  std::optional<program::Element> element;
};

class Kernel {
 public:
  virtual ~Kernel() = default;

  /// One transaction: all of it or nothing. An empty one does nothing.
  virtual tl::expected<void, Refusal> commit(const diff::Changes& changes) = 0;

  /// Reads our table back.
  virtual Result<Readback> read() = 0;

  /// Whether the set holds the element, without reading the whole set; of address ranges, whether one holds its first
  /// address. False without a table.
  virtual Result<bool> has(program::SetId set, const program::Element& element) = 0;

  /// Named counters by name, since the table was made.
  virtual Result<std::map<std::string, Counter>> counters() = 0;
};

}  // namespace podfence::kernel
