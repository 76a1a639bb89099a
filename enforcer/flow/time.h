#pragma once
// Points in time as flow records write and read them: RFC 3339, UTC, microseconds. The clock is always the caller's.
#include <chrono>
#include <string>
#include <string_view>

#include "policy/base/result.h"

namespace podfence::flow {

using TimePoint = std::chrono::system_clock::time_point;

/// "2026-11-23T17:30:00.123456Z"
std::string text_of(TimePoint t);
/// "20261123T173000.123456Z", for file names: sorts by time.
std::string compact_text_of(TimePoint t);

/// RFC 3339 with any offset and any number of fraction digits; nothing else.
Result<TimePoint> parse_time(std::string_view text);

/// "90s", "5m", "2h", "7d": that long before `now`; or an RFC 3339 time.
Result<TimePoint> parse_since(std::string_view text, TimePoint now);

}  // namespace podfence::flow
