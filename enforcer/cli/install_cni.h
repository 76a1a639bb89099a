#pragma once
// `podfence install-cni` and `podfence uninstall-cni`: the plugin into the runtime's chain, and out of it.
#include <CLI/CLI.hpp>
#include <iosfwd>
#include <string>

#include "enforcer/install/options.h"

namespace podfence::cli {

struct InstallArguments {
  install::UninstallOptions options;
  std::string mode = "own";
  double deadline_seconds = 0;  // 0 = the plugin's own
  double wait_seconds = 30;
  double verify_seconds = 5;
  double drain_seconds = 10;
  bool without_agent = false;
  bool check = false;
  bool watch = false;
  std::string results = "/var/lib/cni/results";
  std::string output = "text";
};

void add_install(CLI::App& app, InstallArguments& a);
/// The options that uninstalling the plugin has, also as a part of another command.
void add_uninstall_options(CLI::App& command, InstallArguments& a);

/// Exit code: 0 = in place, 1 = error, 2 = not in place, or the runtime has not taken it.
int run_install(InstallArguments& a, std::ostream& out, std::ostream& err);
int run_uninstall(InstallArguments& a, std::ostream& out, std::ostream& err);

}  // namespace podfence::cli
