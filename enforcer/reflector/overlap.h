#pragma once
// Several watches that may show the same pods, as one stream. Each is right about what it has seen, none about when: an
// object is there while one of them shows it, and the newest version counts.
#include <map>
#include <string>
#include <vector>

#include "enforcer/reflector/reflector.h"

namespace podfence::reflector {

using Watches = std::vector<const Reflector*>;

class Overlap {
 public:
  /// What of `events`, which came by `from` and are in its store already, is news beside what the others of `all` have.
  std::vector<store::Event> news(const Watches& all, const Reflector& from, std::vector<store::Event> events);

  /// What goes when `gone` is watched no longer: what none of the others has. One that is behind may yet show it;
  /// whether it does is seen when it is there.
  std::vector<store::Event> without(const Reflector& gone, const Watches& others);

 private:
  void judge_orphans(const Watches& all, std::vector<store::Event>& events);

  std::map<api::ObjectKey, std::uint64_t> orphans_;  // versions that only a dropped watch had
};

}  // namespace podfence::reflector
