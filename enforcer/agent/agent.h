#pragma once
// The node agent: the one place that constructs and joins every part. agent.cpp opens with the map.
#include <cstdint>
#include <string>
#include <vector>

#include "policy/base/result.h"
#include "policy/compile/compile.h"
#include "policy/program/observe.h"
#include "policy/store/cluster.h"

namespace podfence::agent {

struct Config {
  std::string source;                   // "dir:PATH" or "kubernetes"
  std::string kubeconfig;               // file; "" = KUBECONFIG, and without it the pod's service account
  std::string context;                  // of it; "" = current-context
  unsigned audit_seconds = 300;         // ask the API server that often how many objects it has
  std::string watch = "auto";           // pods of whom: "cluster", "needed" ones, "auto" = needed above 100 nodes
  unsigned watch_linger_seconds = 600;  // how long a watch stays that is not needed any more
  std::string node;                     // this node's name in the cluster
  std::string cluster;                  // a name for flow records; may be empty
  std::string socket = "/run/podfence/agent.sock";
  std::string state_dir = "/var/lib/podfence";             // what must survive a restart: the account of denied flows
  std::string checkpoint;                                  // of the source kubernetes; "" = in state_dir, "none"
  std::string flow_log = "/var/log/podfence/flows.jsonl";  // "-" = standard output, "" = none
  std::uint64_t flow_log_file_mb = 64;                     // of the live file, before it is rotated
  std::uint64_t flow_log_total_mb = 512;                   // of it and the rotated ones: the oldest go
  std::string flow_labels;                                 // keys of pods' labels that records hold, joined by commas
  program::ObserveOptions observe;                         // NFLOG group of allowed flows, its rates
  program::Options program;                                // NFLOG group, conntrack label bit, log rates
  bool fail_closed = true;
  bool revoke_established = true;
  bool guard_sources = true;  // anti-spoofing on the pods' host interfaces
  bool own_table = false;     // see kernel::NftOptions
  std::string otlp;           // URL of an OTLP/HTTP receiver of logs; "" = none
  std::string otlp_headers;   // file with headers for it: credentials
  std::string otlp_ca;        // file with the certificates that it is verified by; "" = the system's
  std::string syslog;         // "udp://HOST", "tcp://HOST", "unix:/PATH"; "" = none
  bool journald = false;
  bool flow_events = false;                          // Kubernetes Events on pods whose flows are denied
  std::string http_address = "127.0.0.1:19436";      // /metrics, /livez, /readyz, /statusz; "" = none
  std::string cni_results = "/var/lib/cni/results";  // the runtime's cache of plugin results; empty: not read
  bool cni = false;               // podfence-cni is in the chain: status names local pods that it did not see
  unsigned verify_seconds = 300;  // slow timer: read the kernel back and compare
};

/// Everything that can be said against a configuration before anything is opened.
Result<> validate(const Config& config);

bool is_kubernetes(const Config& config);

/// The file of the last good world; empty: none is kept.
std::string checkpoint_file(const Config& config);

/// "app,tier" -> the keys, sorted.
Result<std::vector<std::string>> flow_label_keys(const Config& config);

/// "dir:PATH" -> PATH
Result<std::string> source_directory(const std::string& source);

compile::Settings settings_of(const Config& config);

/// What `podfence explain` asks the agent, answered from the cluster as the agent knows it.
struct ExplainRequest {
  std::string source;
  std::string destination;
  bool json = false;
  bool fail_closed = true;
  std::string node = {};
  std::vector<net::IpAddr> attached = {};  // addresses that the plugin reported, on that node
};
struct ExplainAnswer {
  int exit_code = 1;
  std::string output;
};
using Explain = ExplainAnswer (*)(const store::Cluster& cluster, const ExplainRequest& request);

/// Runs until SIGTERM or SIGINT. The rules stay in the kernel when it ends.
Result<> run(const Config& config, Explain explain);

}  // namespace podfence::agent
