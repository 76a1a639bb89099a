#pragma once
// A line of the flow log for people.
#include <string>

#include "enforcer/flow/history.h"

namespace podfence::flow {

/// "2026-11-23 17:30:00.123 deny in shop/web 10.0.1.5:43210 -> db/pg 10.0.2.9:5432/tcp x14 by db/allow-api", without a
/// newline and without control characters.
std::string text_line(const LoggedLine& line);

}  // namespace podfence::flow
