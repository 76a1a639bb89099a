#pragma once
// The pods of this node that own an address: the subjects of policies.
#include <map>
#include <unordered_map>
#include <vector>

#include "policy/compile/subject.h"

namespace podfence::compile {

struct LocalPod {
  Addresses addresses;                          // that it owns, sorted
  Addresses addresses_before;                   // that are in the kernel; differs only during a batch
  std::vector<store::NamespacedName> policies;  // that select it, sorted
  std::array<Subject, 2> subjects;              // by direction
  bool dirty = true;                            // its object, its addresses or its policies may have changed
};

class LocalPods {
 public:
  using Map = std::map<store::NamespacedName, LocalPod>;

  /// Brings ownership up to date for the addresses (sorted), and marks the pods that are or were concerned.
  void update_owners(const store::Cluster& cluster, const std::string& node, const Addresses& dirty);
  /// Marks the pods that a policy selects now or selected before.
  void mark_subjects_of(const store::Cluster& cluster, const store::NamespacedName& policy);
  /// Finds the policies of the marked pods.
  void update_policies(const store::Cluster& cluster, RelevantPolicies& policies);
  /// Writes self and known of the marked pods, unmarks them, and drops those without an address.
  void settle(ChangeSink& sink);

  Map& pods() { return pods_; }
  const Map& pods() const { return pods_; }

 private:
  Map pods_;
  std::unordered_map<net::IpAddr, store::NamespacedName, net::IpAddrHash> owners_;
};

}  // namespace podfence::compile
