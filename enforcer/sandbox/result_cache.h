#pragma once
// The result cache of libcni (/var/lib/cni/results): one file for each attachment, written by the runtime after the
// whole chain has succeeded. Only read, to find what was plugged in while the agent was away.
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "enforcer/sandbox/attachment.h"

namespace podfence::sandbox {

/// The attachment that a cached result tells of; nothing when its chain is without podfence-cni. Its host interface is
/// what the result names last outside of the sandbox; it has no index. Trusts nothing.
Result<std::optional<Attachment>> parse_cached_result(std::string_view json);

struct CachedResults {
  std::vector<Attachment> attachments;  // in the order in which they were written
  std::vector<std::string> problems;
};
CachedResults read_result_cache(const std::string& directory);

}  // namespace podfence::sandbox
