#pragma once
// The time of day for what people read.
#include <string>

namespace podfence::install {

/// "2026-01-31T12:00:00Z"
std::string utc_now();

}  // namespace podfence::install
