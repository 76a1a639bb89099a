#pragma once
// `podfence flows`: reads the flow log of the agent, or a file, filtered, and follows it when asked to.
#include <cstddef>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include "enforcer/flow/format.h"

namespace podfence::cli {

struct FlowsOptions {
  std::string file;    // empty = ask the agent
  std::string socket;  // of the agent
  bool follow = false;
  bool deny = false;  // as --verdict deny
  // As they were given; a leading '!' excludes.
  std::vector<std::string> from;
  std::vector<std::string> to;
  std::vector<std::string> port;
  std::vector<std::string> verdict;
  std::vector<std::string> reason;
  std::vector<std::string> policy;
  std::string since;
  std::string until;
  std::optional<std::size_t> last;
  flow::Format format = flow::Format::text;
  std::size_t width = flow::any_width;  // of the terminal, for text
};

/// Exit code: 0 when something matched, 2 when nothing did (a loss alone matches no question), 1 on errors. With
/// `follow` it ends when it is interrupted or its output is closed.
int flows(const FlowsOptions& options, std::ostream& out, std::ostream& err);

}  // namespace podfence::cli
