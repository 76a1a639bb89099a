#pragma once
#include "policy/diff/changes.h"

namespace podfence::diff {

/// What turns `from` into `to`: apply(changes_between(a, b), a) == b; changes_between(a, a) is empty. Different options
/// mean an install.
Changes changes_between(const program::Program& from, const program::Program& to);

/// Everything that makes `program` where there is no table yet, or whatever table there is.
Changes install_of(const program::Program& whole);

}  // namespace podfence::diff
