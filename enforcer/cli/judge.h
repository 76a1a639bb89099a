#pragma once
// The verdict on a flow as the cluster's nodes would give it, from the reference evaluator and from the compiled
// programs, and where the two differ (they never should).
#include <map>
#include <string>
#include <vector>

#include "policy/evaluate/evaluate.h"
#include "policy/net/flow.h"
#include "policy/program/program.h"
#include "policy/program/trace.h"
#include "policy/store/cluster.h"

namespace podfence::cli {

/// The nodes that a flow's packets cross and that may judge it: of the source, then of the destination. An address that
/// no pod owns belongs to the nodes whose pod ranges hold it.
std::vector<std::string> nodes_of(const store::Cluster& cluster, const net::Flow& flow);

/// Addresses that were plugged in on a node, as its agent knows them.
struct AttachedTo {
  std::string node;
  std::vector<net::IpAddr> addresses;
};

/// The verdict of all these nodes together, and of the one where an end was plugged in: denied when one denies it.
evaluate::Verdict verdict_of(const store::Cluster& cluster, const net::Flow& flow, bool fail_closed,
                             const AttachedTo& attached = {});

struct Difference {
  std::string node;
  bool program_allows = true;
  bool evaluator_allows = true;
  std::string what;  // "first packet", "reply", "all sides"
};

struct Judged {
  evaluate::Verdict verdict;
  std::vector<Difference> differences;
};

/// Compiles each node's program once, when a flow first needs it, unless it is given (read back from a kernel, say).
/// The cluster must live as long and stay as it is.
class Judge {
 public:
  Judge(const store::Cluster& cluster, bool fail_closed, std::map<std::string, program::Program> programs = {});
  Judged judge(const net::Flow& flow);

 private:
  const program::Program& program_of(const std::string& node);
  void compare(const std::string& node, const net::Flow& flow, Judged& judged);

  const store::Cluster& cluster_;
  bool fail_closed_;
  program::Tracer tracer_;
  std::map<std::string, program::Program> programs_;
};

}  // namespace podfence::cli
