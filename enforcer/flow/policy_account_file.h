#pragma once
// The account by policy on disk: a small JSON file that is replaced by a rename. Not synced: a crash of the machine
// that loses it loses the kernel's counters with it.
#include <optional>
#include <string>

#include "enforcer/flow/policy_account.h"

namespace podfence::flow {

/// Nothing when there is no such file; an error when it is there and is not to be understood.
Result<std::optional<PolicyAccountState>> load_policy_account(const std::string& file);
/// Makes the directory where it is missing.
Result<> save_policy_account(const std::string& directory, const std::string& name, const PolicyAccountState& state);

}  // namespace podfence::flow
