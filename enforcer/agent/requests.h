#pragma once
// A request on the agent's socket: {"command": "...", ...} with text and boolean fields.
#include <map>
#include <string>
#include <string_view>

#include "policy/base/result.h"

namespace podfence::agent {

struct Request {
  std::string command;
  std::map<std::string, std::string, std::less<>> texts;
  std::map<std::string, bool, std::less<>> flags;

  /// "" when it was not given.
  std::string text(std::string_view name) const;
  /// false when it was not given.
  bool flag(std::string_view name) const;
};

/// Untrusted input: a field of another type, or a missing command, is an error that names it.
Result<Request> parse_request(std::string_view json);

}  // namespace podfence::agent
