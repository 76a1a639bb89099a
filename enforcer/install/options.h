#pragma once
// What the operator asks of the installer.
#include <chrono>
#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "enforcer/install/conf_file.h"

namespace podfence::install {

struct Options {
  Mode mode = Mode::own;
  std::string conf_dir = "/etc/cni/net.d";
  std::string bin_dir = "/opt/cni/bin";
  std::vector<std::string> search_dirs;  // other directories in which the runtime looks for plugins
  std::string plugin;                    // the program to install
  std::string state_dir = "/var/lib/podfence";
  std::string primary;  // name of the file to chain behind; empty = the first one, as runtimes choose
  EntryOptions entry;
  std::string cri_socket;                        // empty = the usual ones; "none" = ask nobody
  std::string version;                           // of this program, for the state
  std::chrono::milliseconds wait{30'000};        // for a network, an agent, another installer
  std::chrono::milliseconds verify_time{5'000};  // for the runtime to take the change
  bool unverified = false;  // mode drop-in even where the runtime does not say that it reads drop-ins
  bool need_agent = true;   // first look whether the agent's socket answers
};

struct UninstallOptions {
  Options common;
  std::chrono::milliseconds drain{10'000};  // for chains that the runtime has begun
  bool purge = false;                       // the program goes even if sandboxes were made with it
  /// Attachments that the runtime's cache says were made with our plugin.
  std::function<Result<std::size_t>()> attachments;
};

}  // namespace podfence::install
