#pragma once
// What the API server says after a start from a checkpoint. Until it has said everything it is put aside: nothing of it
// mixes with the checkpoint's world, which is enforced. Then the difference comes out.
#include <chrono>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "enforcer/reflector/held.h"
#include "policy/archive/archive.h"
#include "policy/store/cluster.h"

namespace podfence::agent {

class ResumedWorld {
 public:
  using Problems = std::map<std::string, reflector::Problem>;

  ResumedWorld(const archive::Origin& origin, std::string node);

  /// What has to be done about these events now. `whole` is given once, with the events that make the source whole: it
  /// is the world in force.
  std::vector<store::Event> take(std::vector<store::Event> events, const Problems& problems,
                                 const store::Cluster* whole);

  /// Whether the object, which has errors now, is in force as the checkpoint had it (V-11).
  bool keeps(const std::string& object) const { return kept_.count(object) != 0; }

  /// Another cluster's uid than the checkpoint's, where both are known: found when the source was whole.
  bool of_another_cluster() const { return of_another_cluster_; }

 private:
  std::vector<store::Event> difference(const store::Cluster& in_force, const Problems& problems);
  bool had_good_content(const std::string& object, const Problems& problems) const;

  std::string node_;
  std::string cluster_;
  std::set<std::string> narrow_;
  store::Cluster said_;
  std::map<std::string, std::string> kept_;  // and the uid
  bool whole_ = false;
  bool of_another_cluster_ = false;
};

/// Before the first request: nodes that start together do not ask together, where there is no hurry (B3). `random`:
/// uniform in [0, 1).
std::chrono::milliseconds first_pause(std::size_t nodes, double random);

}  // namespace podfence::agent
