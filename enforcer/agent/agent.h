#pragma once
// The node agent: the one place that constructs and joins every part. agent.cpp opens with the map.
#include <cstdint>
#include <string>

#include "policy/base/result.h"
#include "policy/compile/compile.h"

namespace podfence::agent {

struct Config {
  std::string source;   // "dir:PATH"
  std::string node;     // this node's name in the cluster
  std::string cluster;  // a name for flow records; may be empty
  std::string socket = "/run/podfence/agent.sock";
  std::string state_dir = "/var/lib/podfence";             // what must survive a restart: the flow ledger
  std::string flow_log = "/var/log/podfence/flows.jsonl";  // "-" = standard output, "" = none
  program::Options program;                                // NFLOG group, conntrack label bit, log rates
  bool fail_closed = true;
  bool revoke_established = true;
  bool guard_sources = true;      // anti-spoofing on the pods' host interfaces
  bool dry_run = false;           // print what would be loaded and stop
  unsigned verify_seconds = 300;  // slow timer: read the kernel back and compare
};

/// Everything that can be said against a configuration before anything is opened.
Result<> validate(const Config& config);

/// Runs until SIGTERM or SIGINT; the rules stay in the kernel when it ends. 0 = ended as asked.
Result<> run(const Config& config);

/// The ruleset that the agent would load for what its source holds now.
Result<std::string> dry_run(const Config& config);

}  // namespace podfence::agent
