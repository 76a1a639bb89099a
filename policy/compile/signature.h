#pragma once
// What an address is to the policies of this node: the peers that it matches, sorted, each with the number behind a
// named port where the peer has one. Equal signatures are one class.
#include <cstdint>
#include <vector>

#include "policy/net/protocol.h"

namespace podfence::compile {

/// Blocks have the top bit, so that they come last in a signature: an address that no pod owns has nothing else.
using SpecId = std::uint32_t;
inline constexpr SpecId block_bit = 0x80000000U;

/// A peer in the upper bits, a port number (or 0) in the lower sixteen.
using Match = std::uint64_t;
using Signature = std::vector<Match>;

constexpr Match match_of(SpecId spec, std::uint16_t number) {
  return (Match{spec} << 16U) | number;
}
constexpr SpecId spec_of(Match match) {
  return static_cast<SpecId>(match >> 16U);
}
constexpr net::Port port_of(Match match) {
  return net::Port{static_cast<std::uint16_t>(match & 0xffffU)};
}
constexpr bool is_block(SpecId spec) {
  return (spec & block_bit) != 0;
}

/// A signature that only addresses of pods can have.
inline bool has_pod_part(const Signature& signature) {
  return !signature.empty() && !is_block(spec_of(signature.front()));
}

struct SignatureHash {
  std::size_t operator()(const Signature& signature) const noexcept {
    std::uint64_t h = signature.size();
    for (const Match match : signature) {
      h = (h ^ match) * 0x9e3779b97f4a7c15ULL;
      h ^= h >> 29U;
    }
    return static_cast<std::size_t>(h);
  }
};

}  // namespace podfence::compile
