#pragma once
// Reading one manifest: who it is, whether somebody writes it, what it holds.
#include <sys/stat.h>

#include <cstdint>
#include <optional>
#include <string>

#include "policy/api/decode.h"

namespace podfence::source {

/// Differs whenever the content may differ.
struct FileIdentity {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::uint64_t size = 0;
  std::int64_t modified_ns = 0;
  std::int64_t changed_ns = 0;
  friend bool operator==(const FileIdentity&, const FileIdentity&) = default;
};

/// Of what the path leads to, through links; nothing when it leads to no regular file.
std::optional<FileIdentity> identity_of(const std::string& path);

struct ManifestContent {
  FileIdentity identity;
  bool empty = false;  // nothing but blanks
  api::Decoded decoded;
};

/// Errc::busy while somebody has it open for writing, where the system tells.
Result<ManifestContent> read_manifest(const std::string& path, const api::Limits& limits);

}  // namespace podfence::source
