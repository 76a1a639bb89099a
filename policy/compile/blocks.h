#pragma once
// The disjoint ranges that the blocks of all policies cut the address space into, each with the blocks that hold it.
#include <vector>

#include "policy/compile/address_table.h"
#include "policy/compile/signature.h"
#include "policy/compile/spec_table.h"

namespace podfence::compile {

struct Piece {
  net::IpRange range;
  Signature signature;  // blocks only, never empty
  SlotId slot = 0;
};

class Blocks {
 public:
  /// Makes the pieces anew, without slots, and returns the old ones.
  std::vector<Piece> change(const SpecTable& specs, const SpecTable::Delta& delta);

  static constexpr std::size_t npos = static_cast<std::size_t>(-1);
  /// The place among pieces() of the one that holds the address, or npos.
  std::size_t find(const net::IpAddr& ip) const;

  const std::vector<Piece>& pieces() const { return pieces_; }
  std::vector<Piece>& pieces() { return pieces_; }

 private:
  std::vector<SpecId> ids_;    // sorted
  std::vector<Piece> pieces_;  // sorted; neighbours that touch differ in their signatures
};

}  // namespace podfence::compile
