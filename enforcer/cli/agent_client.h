#pragma once
// Commands that a running agent answers.
#include <iosfwd>
#include <string>

#include "enforcer/cli/explain.h"

namespace podfence::cli {

/// `explain` from the cluster as the agent knows it. Exit code as explain().
int explain_by_agent(const std::string& socket, const ExplainOptions& options, std::ostream& out, std::ostream& err);

/// Where the agent writes its flow log, and the keys of labels that it writes into records, joined by commas. The log
/// of allowed flows is another.
struct FlowLogOfAgent {
  std::string path;
  std::string labels;
};
Result<FlowLogOfAgent> flow_log_of_agent(const std::string& socket, bool allowed);

}  // namespace podfence::cli
