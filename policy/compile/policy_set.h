#pragma once
// The policies that isolate a pod in one direction, as one number: what the kernel counts denied packets under.
#include <cstdint>
#include <vector>

#include "policy/program/layout.h"
#include "policy/store/cluster.h"

namespace podfence::compile {

/// Sorted by name.
using PolicySet = std::vector<store::NamespacedName>;

/// A hash of the names, so that a set has the same number after a restart. Of 100 sets of a node two share a number on
/// one node of a million; what is counted under it is then said to be of one of them.
class PolicySetNumber {
 public:
  /// In the order of names.
  void add(const store::NamespacedName& policy);
  /// no_class: no policy.
  program::ClassId finish() const;

 private:
  std::uint64_t hash_ = 0;
};

program::ClassId number_of(const PolicySet& policies);

}  // namespace podfence::compile
