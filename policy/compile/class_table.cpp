#include "policy/compile/class_table.h"

#include <utility>

namespace podfence::compile {

SlotId ClassTable::find(const Signature& signature) const {
  const auto found = by_signature_.find(signature);
  return found == by_signature_.end() ? 0 : found->second;
}

program::ClassId ClassTable::fresh_number() {
  // 0xffffffff means something to the kernel. A number comes back only after all others, so that what was said about a
  // class (in a trace, in a listing) is not soon said about another.
  constexpr program::ClassId end = 0xffffffffU;
  do {
    if (next_number_ == end) next_number_ = program::first_class;
  } while (!numbers_.insert(next_number_++).second);
  return next_number_ - 1;
}

SlotId ClassTable::create() {
  if (free_.empty()) {
    free_.push_back(end());
    classes_.emplace_back();
  }
  const SlotId slot = free_.back();
  free_.pop_back();
  classes_[slot].number = fresh_number();
  return slot;
}

void ClassTable::unlist(SlotId slot) {
  const auto found = by_signature_.find(classes_[slot].signature);
  if (found != by_signature_.end() && found->second == slot) by_signature_.erase(found);
}

void ClassTable::assign(SlotId slot, Signature signature, const Members& members) {
  by_signature_[signature] = slot;
  classes_[slot].signature = std::move(signature);
  classes_[slot].members = members;
}

void ClassTable::retire(SlotId slot) {
  classes_[slot].members = {};
  classes_[slot].signature = {};
  retired_.push_back(slot);
}

void ClassTable::reclaim() {
  for (const SlotId slot : std::exchange(retired_, {})) {
    numbers_.erase(classes_[slot].number);
    classes_[slot] = {};
    free_.push_back(slot);
  }
}

void ClassTable::renumber(const std::vector<std::pair<SlotId, program::ClassId>>& wanted,
                          const std::unordered_set<program::ClassId>& taken) {
  numbers_.clear();
  for (Class& each : classes_) each.number = program::no_class;
  for (const auto& [slot, number] : wanted) {
    classes_[slot].number = number;
    numbers_.insert(number);
  }
  next_number_ = program::first_class;
  for (SlotId slot = 1; slot < end(); ++slot) {
    if (!classes_[slot].live() || classes_[slot].number != program::no_class) continue;
    while (taken.count(next_number_) > 0) ++next_number_;
    classes_[slot].number = fresh_number();
  }
}

}  // namespace podfence::compile
