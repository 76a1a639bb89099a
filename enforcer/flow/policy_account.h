#pragma once
// Denied packets by policy. The kernel counts them by the set of policies that isolate the pod (program::tally_of);
// what it counted under a set counts for each policy of the set, so the sum over policies is more than what was denied.
// Totals never become smaller: not when a set is not in use any more and its counter goes, not with a new table, and,
// from the file, not with a new agent. Pure: no clock, no I/O.
#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "enforcer/flow/time.h"
#include "policy/program/layout.h"
#include "policy/store/cluster.h"

namespace podfence::flow {

struct Traffic {
  std::uint64_t packets = 0;
  std::uint64_t bytes = 0;
  Traffic& operator+=(const Traffic& other);
  friend bool operator==(const Traffic&, const Traffic&) = default;
};

using PolicySets = std::map<program::TallyKey, std::vector<store::NamespacedName>>;
using Tallies = std::map<program::TallyKey, Traffic>;
using PolicyTraffic = std::map<std::pair<net::Direction, store::NamespacedName>, Traffic>;

/// A set of policies that the kernel counts under, or has counted under.
struct CountedSet {
  std::vector<store::NamespacedName> policies;
  Traffic last = {};   // of the table of the epoch
  Traffic total = {};  // over all tables
  friend bool operator==(const CountedSet&, const CountedSet&) = default;
};

/// What outlives the agent.
struct PolicyAccountState {
  std::string epoch;  // of the table that was read last; may be empty
  std::map<program::TallyKey, CountedSet> sets;
  PolicyTraffic retired;  // of sets that are no more
  friend bool operator==(const PolicyAccountState&, const PolicyAccountState&) = default;
};

class PolicyAccount {
 public:
  /// Packets that were on their way through the rules when a set went out of use have been counted after that time.
  static constexpr std::chrono::seconds settle_time{1};
  /// Series of a policy that is no more go after that time, so that their last value has been read.
  static constexpr std::chrono::minutes keep_time{5};

  PolicyAccount() = default;
  explicit PolicyAccount(PolicyAccountState state) : state_(std::move(state)) {}

  /// The sets that the kernel has from now on. Whether the state should be saved.
  bool use(const PolicySets& sets, TimePoint now);
  /// What the kernel has counted, in the table of that epoch; empty where it cannot be told. Whether the state should
  /// be saved: the epoch is news.
  bool sample(const Tallies& tallies, const std::string& epoch);
  /// After a sample: the counts of sets that are out of use for long enough go to their policies. When there are any,
  /// the state should be saved, and then their counters deleted from the kernel: in that order, a crash between the two
  /// counts nothing twice, as a new agent deletes what is unknown().
  std::vector<program::TallyKey> retire(TimePoint now);
  bool has_idle() const { return !idle_.empty(); }
  /// Drops the totals of policies that were deleted long enough ago. Whether there were any.
  bool prune(const std::map<store::NamespacedName, api::NetworkPolicy>& policies, TimePoint now);

  /// Numbers that the kernel has and the state has not.
  std::vector<program::TallyKey> unknown(const Tallies& tallies) const;

  /// Of every policy that isolates a pod of this node, or did.
  PolicyTraffic totals() const;
  const PolicyAccountState& state() const { return state_; }

 private:
  PolicyAccountState state_;
  std::map<program::TallyKey, TimePoint> idle_;  // since when
  std::map<store::NamespacedName, TimePoint> gone_;
};

}  // namespace podfence::flow
