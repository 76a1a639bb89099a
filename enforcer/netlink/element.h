#pragma once
// Set elements as the kernel keeps them. Addresses and ports lie in network order, each field of a concatenation padded
// to four bytes. A class is a register of meta priority: host order in hash sets and as the data of maps, network order
// in interval concatenations, where nft (and so the rules here) swaps it before the look-up.
//
// A range of addresses is two elements in the kernel: its first address, and the address after its last with an end
// mark; a range up to the end of the family has no second one. A range of ports is one element with a second key.
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "policy/base/result.h"
#include "policy/program/program.h"

struct nlmsghdr;

namespace podfence::netlink {

/// One field of a key: its type id in nft and its bytes without padding.
struct Field {
  std::uint32_t type;
  std::uint32_t size;
};

namespace type_id {
inline constexpr std::uint32_t ipv4_addr = 7;
inline constexpr std::uint32_t ipv6_addr = 8;
inline constexpr std::uint32_t inet_proto = 12;
inline constexpr std::uint32_t inet_service = 13;
inline constexpr std::uint32_t iface_index = 20;
inline constexpr std::uint32_t classid = 23;
}  // namespace type_id

std::vector<Field> fields_of(program::SetId set);

/// Ranges of ports: one element with two keys (NFTA_SET_ELEM_KEY_END).
constexpr bool has_key_end(program::Shape s) {
  return s == program::Shape::class_range || s == program::Shape::all_range;
}
/// Ranges of addresses: two elements.
constexpr bool has_end_marks(program::Shape s) {
  return s == program::Shape::cidr_class || s == program::Shape::managed;
}

/// Elements in the kernel that stand for this one: 1 or 2.
std::size_t kernel_elements(program::SetId set, const program::Element& element);

/// Appends the attributes of one element to the open list in the message. The caller has seen to the room:
/// max_element_size bytes. Data is left out for a removal.
void put_element(nlmsghdr* message, program::SetId set, const program::Element& element, bool with_data);
inline constexpr std::size_t max_element_size = 256;

/// Elements of one set out of the kernel's dump.
class ElementReader {
 public:
  explicit ElementReader(program::SetId set) : set_(set) {}

  /// The attributes of one NFTA_LIST_ELEM. False when they are cut short or are no element that this set can hold;
  /// the element is then left out.
  bool feed(std::span<const std::byte> attributes);

  enum class Outcome {
    whole,
    unsettled,  // an element came twice: the kernel was moving them to a larger hash table meanwhile, and for each that
                // came twice another one may be missing. Without any, none is. Dump again.
    foreign,    // ends of ranges without beginnings; what fits is there
  };
  /// All of them, sorted.
  Outcome finish(std::vector<program::Element>& out);

 private:
  struct Mark {
    net::IpAddr address;
    bool end = false;
    program::ClassId class_id = program::no_class;
  };
  bool read_key(std::span<const std::byte> key, program::Element& element) const;
  bool pair_marks(std::vector<program::Element>& out);

  program::SetId set_;
  std::vector<program::Element> elements_;
  std::vector<Mark> marks_;
};

}  // namespace podfence::netlink
