#pragma once
// One pass of the installer: looks, decides, and makes the disk so. Passes are idempotent, one at a time on a
// directory, and may be stopped between any two system calls: at every instant the list that a runtime reads is whole,
// and the program that it names is there.
#include <string>
#include <vector>

#include "enforcer/install/options.h"
#include "enforcer/install/runtime.h"
#include "enforcer/install/state.h"
#include "enforcer/install/verify.h"

namespace podfence::install {

struct Report {
  State state;
  std::vector<std::string> done;  // each a sentence about one change on disk
  std::vector<std::string> warnings;
  Verdict verdict;
};

/// One pass. busy, not_found, unavailable: try again later; nothing was changed.
Result<Report> install_once(const Options& options, Runtime& runtime);

/// Passes until one succeeds, or until options.wait is over.
Result<Report> install(const Options& options, Runtime& runtime);

/// Is everything in place? Changes nothing. What is missing is in `warnings`; the verdict of the runtime as it stands.
Result<Report> check(const Options& options, Runtime& runtime);

/// Takes out what any mode has put in, waits for the chains that have begun, removes the program if nobody needs it,
/// and reads everything back. An error when something of ours is left.
Result<Report> uninstall(const UninstallOptions& options, Runtime& runtime);

}  // namespace podfence::install
