#pragma once
// Order between watches: what says whom a rule may name (policies, namespaces, pods of this node) waits until the pods
// of those namespaces are known, so that no rule is committed that misses its peers. Not for ever: the server may
// refuse one namespace, and the rest must go on. No I/O and no clock.
#include <optional>
#include <set>
#include <vector>

#include "enforcer/reflector/pace.h"
#include "policy/store/cluster.h"

namespace podfence::reflector {

class Gate {
 public:
  struct Item {
    store::Event event;
    bool waits = false;  // for what it may name
  };
  /// What may pass now, in order. `ready`: all that may be named is known.
  std::vector<store::Event> pass(std::vector<Item> items, bool ready, Time now);
  /// When what waits passes anyhow.
  std::optional<Time> deadline() const { return held_.empty() ? std::nullopt : std::optional(since_ + longest_wait); }
  std::size_t waiting() const { return held_.size(); }

 private:
  static constexpr std::chrono::seconds longest_wait{10};
  std::vector<store::Event> held_;
  std::set<api::ObjectKey> keys_;  // of what waits: later events of the same object wait behind it
  Time since_;
  bool overdue_ = false;  // has waited long enough for what is still not known
};

}  // namespace podfence::reflector
