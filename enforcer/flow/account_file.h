#pragma once
// The account on disk: how much had been accounted for when, in which file up to where. A small JSON file that is
// replaced by a rename, so that it is always whole. It is not synced: a crash of the machine that loses it loses the
// kernel's counters with it.
#include <map>
#include <optional>
#include <string>

#include "enforcer/flow/ledger.h"
#include "enforcer/flow/output.h"

namespace podfence::flow {

struct AccountState {
  std::string flow_log;  // the configured path
  FilePosition position;
  Accounted written;              // by all lines up to there
  std::uint64_t unconfirmed = 0;  // of these, packets in lines that may or may not have reached a pipe
  std::string epoch;
  std::map<std::string, CounterTotal> counters;
  friend bool operator==(const AccountState&, const AccountState&) = default;
};

/// Nothing when there is no such file; an error when it is there and is not to be understood.
Result<std::optional<AccountState>> load_account(const std::string& file);
Result<> save_account(const std::string& file, const AccountState& state);

}  // namespace podfence::flow
