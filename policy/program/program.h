#pragma once
// The kernel program as a value: options that fix the rules, and the elements of every set. It is what `compile` gives,
// what the kernel is read back as, and what `diff`, `print` and `trace` take.
#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <vector>

#include "policy/net/cidr.h"
#include "policy/program/layout.h"

namespace podfence::program {

/// What the constant rules depend on.
struct Options {
  std::uint16_t log_group = 4021;       // NFLOG group of denied packets
  std::uint8_t label_bit = 101;         // conntrack label bit of allowed flows, 0..127
  std::uint32_t log_source_rate = 100;  // logged packets per second and source; burst is twice that
  std::uint32_t log_node_rate = 2000;   // logged packets per second in all; burst is twice that
  friend bool operator==(const Options&, const Options&) = default;
};

/// One element of one set. Which fields are used follows from the set's shape; the others stay zero, so that == and <
/// are those of the element. In kernel order: class . address . protocol . port.
struct Element {
  net::IpAddr address;       // local, or remote in cidr_class and peer_class; first address of an interval
  net::IpAddr address_last;  // of cidr_class and managed: last address of the interval, else zero of the same default
  ClassId class_id = no_class;  // key of class_*, data of maps
  net::Protocol protocol;
  net::PortRange ports{};  // first == last but in *_range
  friend auto operator<=>(const Element&, const Element&) = default;
};

/// The same place in the set: equal but for the data of a map.
bool same_key(SetId set, const Element& a, const Element& b);

/// "65536 . 10.0.0.1 . tcp . 80" as nft prints an element of that set ("1:0 . 10.0.0.1 . tcp . 80").
std::string text_of(SetId set, const Element& element);

struct Program {
  Options options;
  std::array<std::vector<Element>, set_count> sets;  // by index_of; each sorted and unique

  const std::vector<Element>& at(SetId id) const { return sets[index_of(id)]; }
  std::vector<Element>& at(SetId id) { return sets[index_of(id)]; }
  std::size_t element_count() const;
  friend bool operator==(const Program&, const Program&) = default;
};

/// Whether the set has an element of that key; of address ranges, whether one of them holds the element's first
/// address.
bool holds(const Program& program, SetId set, const Element& element);

}  // namespace podfence::program
