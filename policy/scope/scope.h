#pragma once
// Which pods a node has to know to enforce its policies: its own, and those of the namespaces that a policy which
// selects one of its pods can name. Nobody else's pods are in any rule of the node, so that a server need not send
// them.
#include <set>
#include <string>

#include "policy/store/cluster.h"

namespace podfence::scope {

struct Scope {
  bool everything = false;  // a peer can be in any namespace
  std::set<std::string, std::less<>> namespaces;
  friend bool operator==(const Scope&, const Scope&) = default;
};

/// Keeps what the scope depends on, and that only: namespaces, policies, and labels of the node's own pods.
class Scoper {
 public:
  explicit Scoper(std::string node) : node_(std::move(node)) {}

  /// Whether the scope may be another one now.
  bool apply(const store::Event& event);
  /// Costs a pass over the policies of the namespaces in which the node has pods.
  Scope scope() const;
  /// Whether an event can move the scope; pods of other nodes and nodes cannot.
  bool concerns(const store::Event& event) const;

 private:
  std::string node_;
  store::Cluster known_;
};

}  // namespace podfence::scope
