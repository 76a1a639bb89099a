#include "enforcer/netlink/element.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <cstring>
#include <tuple>

#include "enforcer/netlink/attribute.h"

namespace podfence::netlink {
namespace {

using program::Element;
using program::SetId;
using program::Shape;

/// A key as it lies in the registers.
struct Key {
  std::array<std::uint8_t, 40> bytes{};
  std::size_t size = 0;

  void put(std::span<const std::uint8_t> value) {
    std::copy(value.begin(), value.end(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
    size += aligned(value.size());
  }
  void put_be16(std::uint16_t v) {
    put(std::array{static_cast<std::uint8_t>(v >> 8U), static_cast<std::uint8_t>(v & 0xffU)});
  }
  void put_be32(std::uint32_t v) {
    put(std::array{static_cast<std::uint8_t>(v >> 24U), static_cast<std::uint8_t>(v >> 16U & 0xffU),
                   static_cast<std::uint8_t>(v >> 8U & 0xffU), static_cast<std::uint8_t>(v & 0xffU)});
  }
  void put_host32(std::uint32_t v) {
    std::array<std::uint8_t, 4> raw{};
    std::memcpy(raw.data(), &v, sizeof(v));
    put(raw);
  }
};

Key key_of(SetId set, const Element& e, net::Port port) {
  Key key;
  if (has_class_key(set.shape)) {
    if (has_key_end(set.shape)) {
      key.put_be32(e.class_id);
    } else {
      key.put_host32(e.class_id);
    }
  }
  key.put(e.address.bytes());
  if (set.shape == Shape::self) key.put(e.address.bytes());
  if (has_protocol(set.shape)) key.put(std::array{e.protocol.number});
  if (has_port(set.shape)) key.put_be16(port.number);
  return key;
}

void put_value(nlmsghdr* message, std::uint16_t type, const void* data, std::size_t size) {
  nlattr* nest = mnl_attr_nest_start(message, type);
  mnl_attr_put(message, NFTA_DATA_VALUE, size, data);
  mnl_attr_nest_end(message, nest);
}

void put_range_end(nlmsghdr* message, const net::IpAddr& end) {
  nlattr* nest = mnl_attr_nest_start(message, NFTA_LIST_ELEM);
  put_value(message, NFTA_SET_ELEM_KEY, end.bytes().data(), end.bytes().size());
  mnl_attr_put_u32(message, NFTA_SET_ELEM_FLAGS, htonl(NFT_SET_ELEM_INTERVAL_END));
  mnl_attr_nest_end(message, nest);
}

/// The value inside NFTA_SET_ELEM_KEY, _KEY_END or _DATA.
std::optional<std::span<const std::byte>> value_in(const Attribute& nest) {
  std::optional<std::span<const std::byte>> value;
  const bool whole = for_each_attribute(nest.value, [&](const Attribute& a) {
    if (a.type == NFTA_DATA_VALUE) value = a.value;
  });
  return whole ? value : std::nullopt;
}

std::optional<std::uint32_t> host32(std::span<const std::byte> bytes) {
  return bytes.size() == 4 ? Cursor(bytes).take_as<std::uint32_t>() : std::nullopt;
}

std::optional<net::IpAddr> take_address(Cursor& cursor, net::Family family) {
  const auto bytes = cursor.take(net::address_size(family));
  return bytes ? net::IpAddr::from_bytes(*bytes) : std::nullopt;
}

}  // namespace

std::vector<Field> fields_of(SetId set) {
  const auto address = set.family == net::Family::ipv4 ? type_id::ipv4_addr : type_id::ipv6_addr;
  const Field address_field{address, static_cast<std::uint32_t>(net::address_size(set.family))};
  std::vector<Field> fields;
  if (has_class_key(set.shape)) fields.push_back({type_id::classid, 4});
  fields.push_back(address_field);
  if (set.shape == Shape::self) fields.push_back(address_field);
  if (has_protocol(set.shape)) fields.push_back({type_id::inet_proto, 1});
  if (has_port(set.shape)) fields.push_back({type_id::inet_service, 2});
  return fields;
}

std::size_t kernel_elements(SetId set, const Element& element) {
  return has_end_marks(set.shape) && element.address_last.next() ? 2 : 1;
}

void put_element(nlmsghdr* message, SetId set, const Element& element, bool with_data) {
  nlattr* nest = mnl_attr_nest_start(message, NFTA_LIST_ELEM);
  const Key key = key_of(set, element, element.ports.first);
  put_value(message, NFTA_SET_ELEM_KEY, key.bytes.data(), key.size);
  if (has_key_end(set.shape)) {
    const Key end = key_of(set, element, element.ports.last);
    put_value(message, NFTA_SET_ELEM_KEY_END, end.bytes.data(), end.size);
  }
  if (is_map(set.shape) && with_data) {
    put_value(message, NFTA_SET_ELEM_DATA, &element.class_id, sizeof(element.class_id));
  }
  mnl_attr_nest_end(message, nest);
  if (!has_end_marks(set.shape)) return;
  if (const auto end = element.address_last.next()) put_range_end(message, *end);
}

bool ElementReader::read_key(std::span<const std::byte> key, Element& element) const {
  Cursor cursor(key);
  if (has_class_key(set_.shape)) {
    const auto id = has_key_end(set_.shape) ? cursor.take_be32() : cursor.take_as<std::uint32_t>();
    if (!id) return false;
    element.class_id = *id;
  }
  const auto address = take_address(cursor, set_.family);
  if (!address) return false;
  element.address = *address;
  if (set_.shape == Shape::self && take_address(cursor, set_.family) != address) return false;
  if (has_protocol(set_.shape)) {
    const auto padded = cursor.take(4);
    if (!padded) return false;
    element.protocol.number = std::to_integer<std::uint8_t>((*padded)[0]);
  }
  if (has_port(set_.shape)) {
    const auto port = cursor.take_be16();
    if (!port || !cursor.take(2)) return false;
    element.ports = {net::Port{*port}, net::Port{*port}};
  }
  return cursor.left() == 0;
}

bool ElementReader::feed(std::span<const std::byte> attributes) {
  std::optional<std::span<const std::byte>> key;
  std::optional<std::span<const std::byte>> key_end;
  std::optional<std::span<const std::byte>> data;
  std::uint32_t flags = 0;
  const bool whole = for_each_attribute(attributes, [&](const Attribute& a) {
    if (a.type == NFTA_SET_ELEM_KEY) key = value_in(a);
    if (a.type == NFTA_SET_ELEM_KEY_END) key_end = value_in(a);
    if (a.type == NFTA_SET_ELEM_DATA) data = value_in(a);
    if (a.type == NFTA_SET_ELEM_FLAGS) flags = a.be32().value_or(~0U);
  });
  const bool end = flags == NFT_SET_ELEM_INTERVAL_END && has_end_marks(set_.shape);
  if (!whole || !key || (flags != 0 && !end)) return false;

  Element element;
  if (!read_key(*key, element)) return false;
  if (has_key_end(set_.shape) && key_end) {
    // Only the port may differ: everything else is one value.
    Element last;
    if (!read_key(*key_end, last)) return false;
    element.ports.last = last.ports.first;
    last.ports = element.ports;
    if (last != element || element.ports.last < element.ports.first) return false;
  }
  if (is_map(set_.shape) && !end) {
    const auto id = data ? host32(*data) : std::nullopt;
    if (!id) return false;
    element.class_id = *id;
  }
  if (has_end_marks(set_.shape)) {
    marks_.push_back({element.address, end, element.class_id});
  } else {
    elements_.push_back(element);
  }
  return true;
}

bool ElementReader::pair_marks(std::vector<Element>& out) {
  // Where one range ends and the next begins at once, the end comes first.
  std::sort(marks_.begin(), marks_.end(),
            [](const Mark& a, const Mark& b) { return std::tuple(a.address, !a.end) < std::tuple(b.address, !b.end); });
  bool fits = true;
  const Mark* open = nullptr;
  const auto close = [&](const net::IpAddr& last) {
    Element element;
    element.address = open->address;
    element.address_last = last;
    element.class_id = open->class_id;
    out.push_back(element);
    open = nullptr;
  };
  for (const Mark& mark : marks_) {
    if (mark.end) {
      // An end at the lowest address closes nothing: nft writes one before a first range that begins later.
      if (open == nullptr) {
        fits = fits && !mark.address.previous();
        continue;
      }
      close(*mark.address.previous());
    } else {
      if (open != nullptr) {
        fits = false;
        close(*mark.address.previous());
      }
      open = &mark;
    }
  }
  if (open != nullptr) close(net::Cidr::around(open->address, 0).range().last);
  return fits;
}

ElementReader::Outcome ElementReader::finish(std::vector<Element>& out) {
  const bool fits = pair_marks(elements_);
  std::sort(elements_.begin(), elements_.end());
  out = std::move(elements_);
  if (std::adjacent_find(out.begin(), out.end()) != out.end()) return Outcome::unsettled;
  return fits ? Outcome::whole : Outcome::foreign;
}

}  // namespace podfence::netlink
