#pragma once
// The classes of one direction: signature, number, members. A class is known by its slot, which, as its number, stays
// the same for as long as it lives, even when its signature changes.
#include <array>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "policy/compile/address_table.h"
#include "policy/compile/signature.h"
#include "policy/program/layout.h"

namespace podfence::compile {

/// Addresses (or pieces of blocks) that carry a class, by family.
struct Members {
  std::array<std::uint32_t, 2> count{};
  std::uint32_t& of(net::Family f) { return count[f == net::Family::ipv4 ? 0 : 1]; }
  std::uint32_t of(net::Family f) const { return count[f == net::Family::ipv4 ? 0 : 1]; }
  std::uint32_t total() const { return count[0] + count[1]; }
  /// Whether both have members of the same families.
  bool same_presence(const Members& other) const {
    return (count[0] == 0) == (other.count[0] == 0) && (count[1] == 0) == (other.count[1] == 0);
  }
};

struct Class {
  Signature signature;
  program::ClassId number = program::no_class;  // no_class: the slot is free
  Members members;
  bool live() const { return members.total() > 0; }
};

class ClassTable {
 public:
  ClassTable() : classes_(1) {}

  const Class& at(SlotId slot) const { return classes_[slot]; }
  std::size_t size() const { return by_signature_.size(); }
  SlotId end() const { return static_cast<SlotId>(classes_.size()); }  // slots are 1 .. end()-1, some of them free
  SlotId find(const Signature& signature) const;                       // 0: none

  /// A new class with a number of its own; assign() must follow.
  SlotId create();
  /// Takes the class's signature out of the index, before others take it over.
  void unlist(SlotId slot);
  void assign(SlotId slot, Signature signature, const Members& members);
  /// The class has lost its members. Its number can be asked for until reclaim().
  void retire(SlotId slot);
  void reclaim();

  /// Gives numbers anew: those of `wanted` (slot, number), and to every other class one that nobody has and that is not
  /// in `taken`.
  void renumber(const std::vector<std::pair<SlotId, program::ClassId>>& wanted,
                const std::unordered_set<program::ClassId>& taken);

 private:
  program::ClassId fresh_number();

  std::vector<Class> classes_;  // [0] stands for "no class"
  std::unordered_map<Signature, SlotId, SignatureHash> by_signature_;
  std::vector<SlotId> free_;
  std::vector<SlotId> retired_;
  std::unordered_set<program::ClassId> numbers_;
  program::ClassId next_number_ = program::first_class;
};

}  // namespace podfence::compile
