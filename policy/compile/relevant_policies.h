#pragma once
// The policies that select a pod of this node, with the peers that they name held in the tables of both directions.
#include <array>
#include <map>
#include <vector>

#include "policy/compile/peer_classes.h"
#include "policy/model/grant.h"
#include "policy/store/cluster.h"

namespace podfence::compile {

struct HeldGrant {
  std::optional<SpecId> peer;  // nothing: every address
  model::PortSet ports;
  std::vector<model::NamedPort> local_names;
  std::optional<net::Protocol> peer_port;  // the port is the number in the peer's match, of this protocol
};

struct RelevantPolicy {
  store::NamespacedName name;
  std::uint32_t subjects = 0;  // pods of this node that it selects
  std::array<bool, 2> isolates{};
  std::array<std::vector<HeldGrant>, 2> grants;  // by direction
};

class RelevantPolicies {
 public:
  /// `ingress` and `egress` must outlive this.
  RelevantPolicies(SpecTable& ingress, SpecTable& egress) : specs_{&ingress, &egress} {}

  RelevantPolicy* find(const store::NamespacedName& key);
  /// One more local pod is selected by it.
  RelevantPolicy& add_subject(const store::NamespacedName& key);
  void remove_subject(const store::NamespacedName& key);
  /// The policy itself may have changed.
  void touch(const store::NamespacedName& key);

  /// Reads all that were touched anew; those that select nobody any more, or are no more, are dropped.
  void refresh(const store::Cluster& cluster);
  std::size_t size() const { return policies_.size(); }

 private:
  void release(const RelevantPolicy& policy);

  std::array<SpecTable*, 2> specs_;
  std::map<store::NamespacedName, RelevantPolicy> policies_;
  std::vector<store::NamespacedName> touched_;
};

}  // namespace podfence::compile
