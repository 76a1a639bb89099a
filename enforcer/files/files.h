#pragma once
// Small files of the agent's own state, and of others' that are only read.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "policy/base/result.h"

namespace podfence::files {

/// Makes it with mode 0700 where it is missing, and its parents.
Result<> make_directory(const std::string& path);

/// Names of the entries that do not begin with a dot, sorted; none when there is no such directory.
Result<std::vector<std::string>> names_in(const std::string& directory);

/// Whether a path may end in a symbolic link, as files of a mounted Secret do.
enum class Links : std::uint8_t { refused, followed };

/// A regular file of at most that many bytes; not_found when there is none.
Result<std::string> read_small_file(const std::string& path, std::size_t most_bytes, Links links = Links::refused);

/// Whether a file has to outlive a power cut.
enum class Sync : std::uint8_t { none, to_disk };

/// Beside it, then renamed over it: a reader finds the old text or the new one. Not synced: after a power cut either,
/// or an empty file. Synced: the old or the new then, too; and it may take long.
Result<> write_file(const std::string& directory, const std::string& name, std::string_view text,
                    Sync sync = Sync::none);

/// Fine when there is none.
Result<> remove_file(const std::string& path);

bool exists(const std::string& path);

}  // namespace podfence::files
