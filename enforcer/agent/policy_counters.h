#pragma once
// Keeps the account of denied packets by policy (flow/policy_account.h) beside the kernel's tallies and its file.
#include <optional>
#include <string>

#include "enforcer/flow/pipeline.h"
#include "enforcer/flow/policy_account.h"
#include "enforcer/flow/table_epoch.h"
#include "enforcer/kernel/nft_kernel.h"
#include "policy/compile/compiler.h"

namespace podfence::agent {

class PolicyCounters {
 public:
  /// The kernel must outlive this. A file that cannot be understood is passed over, and said so in the log.
  PolicyCounters(kernel::NftKernel& kernel, std::string state_dir);

  /// After every commit.
  void after_commit(const compile::Compiler& compiler, flow::TimePoint now);
  /// Once a second, with the kernel's plain counters: where they say that policies denied nothing, nothing is read.
  void on_tick(const store::Cluster& cluster, const std::optional<flow::CounterPackets>& counters, flow::TimePoint now);
  /// The kernel is asked: as of now. What it does not answer stays as it was.
  flow::PolicyTraffic totals();

 private:
  std::optional<flow::Tallies> read();
  bool sample();
  void save();

  kernel::NftKernel& kernel_;
  std::string state_dir_;
  flow::TableEpoch epoch_;
  flow::PolicyAccount account_;
  std::optional<std::uint64_t> version_;  // of the compiler's sets
  std::optional<std::uint64_t> denied_;   // packets, when the tallies were read last
  std::string error_;                     // of the last save
};

}  // namespace podfence::agent
