#pragma once
// `podfence uninstall`: nothing of Podfence is left on the node, and nothing of it is enforced.
#include <CLI/CLI.hpp>
#include <iosfwd>
#include <string>

#include "enforcer/cli/install_cni.h"

namespace podfence::cli {

struct UninstallArguments {
  InstallArguments cni;
  std::string socket = "/run/podfence/agent.sock";
  std::string flow_log = "/var/log/podfence/flows.jsonl";
  bool hold = false;  // then wait for SIGTERM
};

void add_node_uninstall(CLI::App& app, UninstallArguments& a);

/// Exit code: 0 = nothing is left but what was said, 1 = error.
int run_node_uninstall(UninstallArguments& a, std::ostream& out, std::ostream& err);

}  // namespace podfence::cli
