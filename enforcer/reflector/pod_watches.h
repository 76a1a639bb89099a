#pragma once
// Which watches of pods there are: of the whole cluster, or of this node and of some namespaces. Decided from what is
// wanted and what is synced; nothing is dropped before what takes its place is synced, nor before it was unwanted for a
// while. No I/O and no clock.
#include <compare>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "enforcer/reflector/pace.h"

namespace podfence::reflector {

struct PodWatch {
  enum class Of : std::uint8_t { cluster, node, namespace_ };
  Of of = Of::cluster;
  std::string name = {};  // of the node or namespace
  friend auto operator<=>(const PodWatch&, const PodWatch&) = default;
};

class PodWatches {
 public:
  explicit PodWatches(Duration linger) : linger_(linger) {}

  struct Plan {
    std::vector<PodWatch> open;
    std::vector<PodWatch> drop;
  };
  using Synced = std::function<bool(const PodWatch&)>;  // of one that is open
  Plan update(const std::set<PodWatch>& wanted, const Synced& synced, Time now);
  /// When to update again though nothing happens.
  std::optional<Time> deadline() const { return deadline_; }
  /// Whether all that was wanted at the last update was shown.
  bool ready() const { return ready_; }

 private:
  bool is_over(const std::optional<Time>& unwanted_since, Time now) const {
    return unwanted_since && now - *unwanted_since >= linger_;
  }
  void mark(const std::set<PodWatch>& wanted, Time now);

  Duration linger_;
  std::map<PodWatch, std::optional<Time>> open_;  // since when it is not wanted
  std::optional<Time> deadline_;
  bool ready_ = false;
};

}  // namespace podfence::reflector
