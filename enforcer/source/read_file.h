#pragma once
// Reads a file that others may be writing.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include "policy/base/result.h"

namespace podfence::source {

/// Differs when a file was replaced or written to.
struct Signature {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::int64_t size = 0;
  std::int64_t changed_ns = 0;
  std::int64_t modified_ns = 0;
  friend bool operator==(const Signature&, const Signature&) = default;
};

struct Content {
  std::string text;
  Signature signature;
};

/// Of what the path leads to. not_found when there is nothing, or when it is no regular file.
Result<Signature> signature_of(const std::string& path);

/// not_found as above; busy while somebody has it open for writing: the notification of the close will come; limit when
/// it is larger; permission and io as the system says. Never waits.
Result<Content> read_file(const std::string& path, std::size_t most_bytes);

}  // namespace podfence::source
