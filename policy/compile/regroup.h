#pragma once
// One redistribution of addresses among classes. First everybody says where they go: to a target, which is a signature
// that may or may not have a class yet. Then finish() decides which class each target becomes: the one that most of its
// members come from, so that a class whose members move together keeps its number, and of a class that splits the
// larger part does. Whoever is not mentioned stays with its class.
#include <unordered_map>
#include <vector>

#include "policy/compile/class_table.h"

namespace podfence::compile {

class Regroup {
 public:
  explicit Regroup(ClassTable& classes);

  using Target = std::uint32_t;
  static constexpr Target gone = 0;  // carries no class any more

  Target target(Signature signature);

  /// A pod's address. `from` may be 0: it carried no class.
  void move(const net::IpAddr& ip, SlotId from, Target to);
  /// Of a class, whoever was not moved. Without it, those keep their signature.
  void move_rest(SlotId from, Target to);
  /// Pieces of blocks, which are all made anew: old ones leave, new ones come, mostly in the place of `instead_of`.
  void leave(SlotId from, net::Family family);
  void come(Target to, net::Family family);
  void vote(Target to, SlotId instead_of);

  struct Moved {
    net::IpAddr ip;
    SlotId from;
    Target to;
  };
  struct Outcome {
    std::vector<SlotId> slot_of;  // by target
    std::vector<SlotId> changed;  // new, gone, or with another signature or members of other families
    /// Classes whose rest goes elsewhere (second, 0 = carries none).
    std::unordered_map<SlotId, SlotId> displaced;
  };
  Outcome finish();
  const std::vector<Moved>& moved() const { return moved_; }

 private:
  struct TargetState {
    Signature signature;
    Members members;
    SlotId slot = 0;
  };
  struct Involved {
    Members left;
    bool rest_is_told = false;
    Target rest = gone;
  };

  void settle_rests();
  void choose_slots();
  void involve(SlotId slot) { involved_.try_emplace(slot); }

  ClassTable& classes_;
  std::vector<TargetState> targets_;
  std::unordered_map<Signature, Target, SignatureHash> by_signature_;
  std::unordered_map<SlotId, Involved> involved_;
  std::unordered_map<std::uint64_t, std::uint32_t> votes_;  // target, slot -> members
  std::vector<Moved> moved_;
};

}  // namespace podfence::compile
