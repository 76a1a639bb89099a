#pragma once
// A key that an object has twice: which one would count is not defined, so such a text is refused.
#include <optional>

#include "policy/api/value.h"
#include "policy/base/result.h"

namespace podfence::api {

/// The first one found, with its path and line.
std::optional<Error> find_duplicate_key(const Value& value);

}  // namespace podfence::api
