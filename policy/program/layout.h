#pragma once
// The sets of the kernel program. Their number and names are constant: policies, pods and peers only ever add and
// delete elements. nf_tables finds a set by comparing names one by one, so a set for each policy would not scale.
//
// A peer class is a number for all remote addresses that match exactly the same peers of the policies that select this
// node's pods. Class numbers stay above 0xffff: the kernel derives smaller values of skb->priority from the TOS byte,
// and a look-up that misses leaves the priority as it was.
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "policy/net/flow.h"

namespace podfence::program {

/// 0 = matches no peer. Others start at first_class.
using ClassId = std::uint32_t;
inline constexpr ClassId no_class = 0;
inline constexpr ClassId first_class = 0x10000;

/// What denied packets are counted under: the number of the policies that isolate the pod in that direction.
using TallyKey = std::pair<net::Direction, ClassId>;

/// What a set holds. `local` is the address of a pod of this node, `remote` the other end.
enum class Shape : std::uint8_t {
  cidr_class,      // map remote range -> class; interval; overridden by peer_class
  peer_class,      // map remote address -> class
  isolated,        // local addresses under a policy of that direction
  class_port,      // class . local . protocol . port
  class_range,     // class . local . protocol . port range; interval; ranges too wide to be split
  class_protocol,  // class . local . protocol
  class_any,       // class . local
  all_port,        // the same four for rules that admit any peer
  all_range,
  all_protocol,
  all_any,
  policies,  // map local address -> the policies that isolate it, as a number; for denied packets only
  self,      // local . local: a pod to itself; no direction
  managed,   // ranges whose addresses must be known pods; interval; no direction
  known,     // addresses of known pods of this node, the host network's excluded; no direction
};

inline constexpr std::size_t directed_shapes = 12;  // the first twelve exist for each direction

struct SetId {
  Shape shape = Shape::isolated;
  net::Direction direction = net::Direction::ingress;  // ingress for shapes without a direction
  net::Family family = net::Family::ipv4;
  friend auto operator<=>(const SetId&, const SetId&) = default;
};

inline constexpr std::size_t set_count = (directed_shapes * 2 + 3) * 2;

/// Position of a set in every array that holds one thing for each set: 0 .. set_count-1; and back.
constexpr std::size_t index_of(SetId id) {
  const auto shape = static_cast<std::size_t>(id.shape);
  const std::size_t family = id.family == net::Family::ipv6 ? 1 : 0;
  const std::size_t direction = id.direction == net::Direction::egress ? 1 : 0;
  const std::size_t slot =
      shape < directed_shapes ? shape * 2 + direction : directed_shapes * 2 + shape - directed_shapes;
  return slot * 2 + family;
}
constexpr SetId set_at(std::size_t index) {
  const auto family = index % 2 == 1 ? net::Family::ipv6 : net::Family::ipv4;
  const std::size_t slot = index / 2;
  if (slot >= directed_shapes * 2) {
    return {static_cast<Shape>(slot - directed_shapes), net::Direction::ingress, family};
  }
  return {static_cast<Shape>(slot / 2), slot % 2 == 1 ? net::Direction::egress : net::Direction::ingress, family};
}

constexpr bool is_map(Shape s) {
  return s == Shape::cidr_class || s == Shape::peer_class || s == Shape::policies;
}
constexpr bool is_interval(Shape s) {
  return s == Shape::cidr_class || s == Shape::class_range || s == Shape::all_range || s == Shape::managed;
}
constexpr bool has_class_key(Shape s) {
  return s == Shape::class_port || s == Shape::class_range || s == Shape::class_protocol || s == Shape::class_any;
}
/// Holds numbers of peer classes, as key or as data.
constexpr bool names_class(Shape s) {
  return has_class_key(s) || s == Shape::cidr_class || s == Shape::peer_class;
}
constexpr bool has_protocol(Shape s) {
  return s == Shape::class_port || s == Shape::class_range || s == Shape::class_protocol || s == Shape::all_port ||
         s == Shape::all_range || s == Shape::all_protocol;
}
constexpr bool has_port(Shape s) {
  return s == Shape::class_port || s == Shape::class_range || s == Shape::all_port || s == Shape::all_range;
}

/// Name in the kernel, as "in_port4", "out_peer6", "managed4".
std::string_view name_of(SetId id);

/// Key (and data) type in nft's words, as "classid . ipv4_addr . inet_proto . inet_service", "ipv4_addr : classid".
std::string type_of(SetId id);

}  // namespace podfence::program
