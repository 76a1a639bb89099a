#pragma once
// `podfence flows`: reads the flow log of the agent, or a file, filtered, and follows it when asked to.
#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

#include "enforcer/cli/objects.h"

namespace podfence::cli {

struct FlowsOptions {
  std::string file;    // empty = ask the agent
  std::string socket;  // of the agent
  bool follow = false;
  bool deny = false;
  std::vector<std::string> from;
  std::vector<std::string> to;
  std::uint16_t port = 0;  // 0 = any
  std::string policy;
  std::string since;
  Output output = Output::text;
};

/// Exit code: 0, 1 on errors. With `follow` it ends when it is interrupted or its output is closed.
int flows(const FlowsOptions& options, std::ostream& out, std::ostream& err);

}  // namespace podfence::cli
