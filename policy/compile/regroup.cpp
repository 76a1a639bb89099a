#include "policy/compile/regroup.h"

#include <algorithm>
#include <tuple>

namespace podfence::compile {
namespace {

std::uint64_t ballot(Regroup::Target to, SlotId from) {
  return (std::uint64_t{to} << 32U) | from;
}

}  // namespace

Regroup::Regroup(ClassTable& classes) : classes_(classes), targets_(1) {}

Regroup::Target Regroup::target(Signature signature) {
  const auto [place, is_new] = by_signature_.try_emplace(std::move(signature), static_cast<Target>(targets_.size()));
  if (is_new) {
    if (const SlotId slot = classes_.find(place->first)) involve(slot);
    targets_.push_back({place->first, {}, 0});
  }
  return place->second;
}

void Regroup::move(const net::IpAddr& ip, SlotId from, Target to) {
  if (from == 0 && to == gone) return;
  if (from != 0) leave(from, ip.family());
  if (to != gone) come(to, ip.family());
  if (from != 0 && to != gone) vote(to, from);
  moved_.push_back({ip, from, to});
}

void Regroup::move_rest(SlotId from, Target to) {
  Involved& involved = involved_[from];
  involved.rest_is_told = true;
  involved.rest = to;
}

void Regroup::leave(SlotId from, net::Family family) {
  ++involved_[from].left.of(family);
}

void Regroup::come(Target to, net::Family family) {
  ++targets_[to].members.of(family);
}

void Regroup::vote(Target to, SlotId instead_of) {
  ++votes_[ballot(to, instead_of)];
}

/// Whoever was not moved goes where the rest of the class goes.
void Regroup::settle_rests() {
  std::vector<SlotId> slots;
  for (const auto& [slot, involved] : involved_) slots.push_back(slot);
  std::sort(slots.begin(), slots.end());
  for (const SlotId slot : slots) {
    const Class& class_ = classes_.at(slot);
    const Members left = involved_.at(slot).left;
    if (class_.members.total() == left.total()) continue;
    if (!involved_.at(slot).rest_is_told) {
      // Its own signature: this involves no other class.
      const Target stays = target(class_.signature);
      involved_.at(slot).rest = stays;
    }
    const Target rest = involved_.at(slot).rest;
    if (rest == gone) continue;
    for (const net::Family family : net::families) {
      targets_[rest].members.of(family) += class_.members.of(family) - left.of(family);
    }
    votes_[ballot(rest, slot)] += class_.members.total() - left.total();
  }
}

void Regroup::choose_slots() {
  struct Count {
    std::uint32_t votes;
    bool same;  // of two equal parts, the one that keeps its signature keeps its number too
    Target to;
    SlotId from;
  };
  std::vector<Count> counts;
  for (const auto& [key, votes] : votes_) {
    const auto to = static_cast<Target>(key >> 32U);
    const auto from = static_cast<SlotId>(key);
    counts.push_back({votes, targets_[to].signature == classes_.at(from).signature, to, from});
  }
  std::sort(counts.begin(), counts.end(), [](const Count& a, const Count& b) {
    return std::tuple(b.votes, b.same, a.from, a.to) < std::tuple(a.votes, a.same, b.from, b.to);
  });
  std::unordered_map<SlotId, Target> taken;
  for (const Count& count : counts) {
    if (targets_[count.to].slot == 0 && taken.emplace(count.from, count.to).second)
      targets_[count.to].slot = count.from;
  }
}

Regroup::Outcome Regroup::finish() {
  settle_rests();
  choose_slots();
  Outcome outcome;
  std::unordered_map<SlotId, bool> continues;  // slots of targets
  for (std::size_t i = 1; i < targets_.size(); ++i) {
    if (targets_[i].members.total() > 0 && targets_[i].slot == 0) {
      targets_[i].slot = classes_.create();
      outcome.changed.push_back(targets_[i].slot);
    }
    continues[targets_[i].slot] = true;
  }
  for (const TargetState& t : targets_) outcome.slot_of.push_back(t.slot);
  for (const auto& [slot, involved] : involved_) {
    const bool has_rest = classes_.at(slot).members.total() > involved.left.total();
    if (has_rest && outcome.slot_of[involved.rest] != slot) outcome.displaced[slot] = outcome.slot_of[involved.rest];
  }
  for (const auto& [slot, involved] : involved_) classes_.unlist(slot);
  for (const auto& [slot, involved] : involved_) {
    if (continues.count(slot) > 0) continue;
    classes_.retire(slot);
    outcome.changed.push_back(slot);
  }
  for (std::size_t i = 1; i < targets_.size(); ++i) {
    TargetState& t = targets_[i];
    if (t.slot == 0) continue;
    const Class& before = classes_.at(t.slot);
    const bool is_known = before.live();  // new ones are in `changed` already
    if (is_known && (before.signature != t.signature || !before.members.same_presence(t.members))) {
      outcome.changed.push_back(t.slot);
    }
    classes_.assign(t.slot, std::move(t.signature), t.members);
  }
  std::sort(outcome.changed.begin(), outcome.changed.end());
  return outcome;
}

}  // namespace podfence::compile
