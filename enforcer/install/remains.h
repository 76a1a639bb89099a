#pragma once
// Everything of ours in the configuration directory, found by what the files say of themselves.
#include <string>
#include <vector>

#include "enforcer/install/directory.h"
#include "enforcer/install/scan.h"
#include "enforcer/install/state.h"

namespace podfence::install {

/// Takes out lists of ours, entries in lists of others, and drop-ins, all but the one at `keep` (as Want::path()). A
/// list of others gets back the bytes of the backup when these are what our entry was put into. Sentences about it go
/// to `done`.
Result<> remove_remains(const Directory& conf_dir, const StateFiles& files, const State& state, const std::string& keep,
                        std::vector<std::string>& done);

/// Files in which podfence-cni is still named, ours and those written by hand.
Result<std::vector<std::string>> users_of_plugin(const Directory& conf_dir);

}  // namespace podfence::install
