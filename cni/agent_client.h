#pragma once
// The agent as the plugin sees it: a question, an answer, or the reason why there is none.
#include <chrono>
#include <string>
#include <string_view>

#include "policy/base/result.h"

namespace podfence::cni {

enum class IfAbsent { give_up, wait };

class Agent {
 public:
  virtual ~Agent() = default;

  /// Sends `line` and waits for one line, at most `limit` in all. Errors: unavailable (nobody listens there, or the
  /// agent hung up without a word), busy (no answer within the limit), limit (the answer is too long), permission, io.
  /// IfAbsent::wait asks again while the agent is unavailable, for as long as `limit` lets it; so `line` must be one
  /// that may be said twice.
  virtual Result<std::string> ask(const std::string& socket, std::string_view line, std::chrono::milliseconds limit,
                                  IfAbsent if_absent) = 0;
};

/// Over a unix stream socket. Talks only to root and to its own user.
class UnixAgent : public Agent {
 public:
  Result<std::string> ask(const std::string& socket, std::string_view line, std::chrono::milliseconds limit,
                          IfAbsent if_absent) override;
};

}  // namespace podfence::cni
