#pragma once
// Random programs that keep every rule of layout.h: sorted and unique, intervals disjoint, one entry for each key.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <iostream>
#include <random>

#include "policy/program/program.h"

namespace podfence::test {
namespace random_detail {

using namespace program;
using net::Family;
using net::IpAddr;

inline std::uint64_t below(std::mt19937_64& random, std::uint64_t limit) {
  return random() % limit;
}

/// Few different addresses, so that programs meet each other, in both bytes that nft's order weighs differently.
inline IpAddr random_address(std::mt19937_64& random, Family f) {
  const auto low = static_cast<std::uint8_t>(below(random, 250));
  const auto high = static_cast<std::uint8_t>(below(random, 3));
  if (f == Family::ipv4) return IpAddr::v4(10, high, static_cast<std::uint8_t>(below(random, 2)), low);
  std::array<std::uint8_t, 16> bytes{0xfd};
  bytes[9] = high;
  bytes[15] = low;
  return IpAddr::v6(bytes);
}

inline net::PortRange random_ports(std::mt19937_64& random, bool range) {
  const auto first = static_cast<std::uint16_t>(1 + below(random, 60000));
  if (!range) return {net::Port{first}, net::Port{first}};
  return {net::Port{first}, net::Port{static_cast<std::uint16_t>(first + 1 + below(random, 5000))}};
}

inline Element random_element(std::mt19937_64& random, SetId set) {
  Element e;
  e.address = random_address(random, set.family);
  if (has_class_key(set.shape) || is_map(set.shape)) {
    e.class_id = first_class + static_cast<ClassId>(below(random, 4) * 0x7fff);
  }
  if (has_protocol(set.shape)) {
    constexpr std::array<net::Protocol, 3> protocols{net::tcp, net::udp, net::sctp};
    e.protocol = protocols[below(random, 3)];
  }
  if (has_port(set.shape)) e.ports = random_ports(random, is_interval(set.shape));
  return e;
}

inline bool overlap(SetId set, const Element& a, const Element& b) {
  if (set.shape == Shape::cidr_class || set.shape == Shape::managed) {
    return a.address <= b.address_last && b.address <= a.address_last;
  }
  if (a.class_id != b.class_id || a.address != b.address || a.protocol != b.protocol) return false;
  return a.ports.first <= b.ports.last && b.ports.first <= a.ports.last;
}

/// An element of an interval set, unless it would overlap one that is there.
inline void add_interval(std::mt19937_64& random, SetId set, std::vector<Element>& elements) {
  Element e = random_element(random, set);
  if (!has_port(set.shape)) {
    e.address_last = e.address;
    for (auto steps = below(random, 9); steps > 0; --steps) {
      if (const auto next = e.address_last.next()) e.address_last = *next;
    }
    if (below(random, 3) == 0) {
      const auto bits = static_cast<std::uint8_t>(net::address_size(set.family) * 8 - below(random, 4));
      const net::IpRange block = net::Cidr::around(e.address, bits).range();
      e.address = block.first;
      e.address_last = block.last;
    }
  }
  const bool clash =
      std::any_of(elements.begin(), elements.end(), [&](const Element& other) { return overlap(set, e, other); });
  if (!clash) elements.push_back(e);
}

inline void tidy(SetId set, std::vector<Element>& elements) {
  std::sort(elements.begin(), elements.end());
  const auto end = std::unique(elements.begin(), elements.end(), [set](const Element& a, const Element& b) {
    return is_map(set.shape) ? a.address == b.address : a == b;
  });
  elements.erase(end, elements.end());
}

}  // namespace random_detail

/// `size` is the greatest number of elements in a set.
inline program::Program random_program(std::mt19937_64& random, std::size_t size) {
  using namespace program;
  using namespace random_detail;
  Program program;
  for (std::size_t i = 0; i < set_count; ++i) {
    const SetId set = set_at(i);
    std::vector<Element>& elements = program.sets[i];
    for (auto n = below(random, size + 1); n > 0; --n) {
      if (is_interval(set.shape)) {
        add_interval(random, set, elements);
      } else {
        elements.push_back(random_element(random, set));
      }
    }
    tidy(set, elements);
  }
  return program;
}

/// PODFENCE_SEED, or one that is chosen now; printed either way.
inline std::uint64_t test_seed() {
  const char* given = std::getenv("PODFENCE_SEED");
  const std::uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  std::cout << "PODFENCE_SEED=" << seed << std::endl;
  return seed;
}

}  // namespace podfence::test
