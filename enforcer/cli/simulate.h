#pragma once
// `podfence simulate`: verdicts for every flow of a file, or between every pair of pods, from the compiled programs and
// from the reference evaluator.
#include <iosfwd>
#include <string>

#include "enforcer/cli/judge.h"
#include "enforcer/cli/objects.h"

namespace podfence::cli {

struct SimulateOptions {
  std::string objects;  // directory or file with manifests
  std::string flows;    // file with flows; empty = every pair of pods on every port that a pod or a policy names
  bool fail_closed = true;
  Output output = Output::text;
};

/// Answers go to `out` in the order of the questions: text, one line each, or a JSON array of {from, to, port,
/// protocol, verdict, direction, policies, reason, from_ip, to_ip} with one element in a line. What is wrong with the
/// input goes to `err`. Between dual-stack pods a question of the file is about the source's primary address. Exit
/// code: 0, or 2 when program and evaluator differ, 1 on errors.
int simulate(const SimulateOptions& options, std::ostream& out, std::ostream& err);

/// The same for a cluster that is loaded, and a judge of it.
int simulate_in(const store::Cluster& cluster, Judge& judge, const SimulateOptions& options, std::ostream& out,
                std::ostream& err);

}  // namespace podfence::cli
