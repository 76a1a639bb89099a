#pragma once
// Requests that the agent could not take: one file for each attachment in <state_dir>/cni-journal (0700), written
// beside its place and renamed, on disk when write() returns. The agent reads and removes them.
#include <optional>
#include <string>
#include <string_view>

#include "policy/base/result.h"

namespace podfence::cni {

Result<void> write_to_journal(const std::string& state_dir, const std::string& entry, std::string_view line);
std::optional<std::string> read_from_journal(const std::string& state_dir, const std::string& entry);
void erase_from_journal(const std::string& state_dir, const std::string& entry);

}  // namespace podfence::cni
