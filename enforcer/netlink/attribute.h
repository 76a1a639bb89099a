#pragma once
// Reads netlink attributes out of bytes that are not trusted: every length is checked, unknown types are the caller's.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>

#include <linux/netlink.h>

#include "policy/base/cursor.h"

namespace podfence::netlink {

struct Attribute {
  std::uint16_t type = 0;  // without the nested and byte order flags
  std::span<const std::byte> value;

  /// A number in network order, when the value is exactly that long.
  std::optional<std::uint32_t> be32() const { return value.size() == 4 ? Cursor(value).take_be32() : std::nullopt; }
  /// Up to the first NUL.
  std::string_view text() const {
    const std::string_view all(static_cast<const char*>(static_cast<const void*>(value.data())), value.size());
    return all.substr(0, all.find('\0'));
  }
};

constexpr std::size_t aligned(std::size_t n) {
  return (n + 3) & ~std::size_t{3};
}

/// Calls `each(Attribute)` for one after the other. False when a length is wrong: what came before was still whole.
template <class F>
bool for_each_attribute(std::span<const std::byte> bytes, F each) {
  Cursor cursor(bytes);
  while (cursor.left() > 0) {
    const auto header = cursor.take_as<nlattr>();
    if (!header || header->nla_len < sizeof(nlattr)) return false;
    const std::size_t size = header->nla_len - sizeof(nlattr);
    const auto value = cursor.take(size);
    if (!value) return false;
    cursor.take(std::min(aligned(size) - size, cursor.left()));
    each(Attribute{static_cast<std::uint16_t>(header->nla_type & NLA_TYPE_MASK), *value});
  }
  return true;
}

inline std::span<const std::byte> bytes_of(const nlmsghdr* message) {
  return std::as_bytes(std::span(static_cast<const char*>(static_cast<const void*>(message)), message->nlmsg_len));
}

/// What follows the message header and `header_size` bytes of the family's own header; empty when there is less.
inline std::span<const std::byte> attributes_of(const nlmsghdr* message, std::size_t header_size) {
  const auto bytes = bytes_of(message);
  return bytes.subspan(std::min(sizeof(nlmsghdr) + aligned(header_size), bytes.size()));
}

/// Calls `each` for every whole message in a datagram until it answers false.
template <class F>
void for_each_message(std::span<const std::byte> datagram, F each) {
  while (datagram.size() >= sizeof(nlmsghdr)) {
    const auto* message = static_cast<const nlmsghdr*>(static_cast<const void*>(datagram.data()));
    if (message->nlmsg_len < sizeof(nlmsghdr) || message->nlmsg_len > datagram.size()) return;
    if (!each(message)) return;
    datagram = datagram.subspan(std::min(aligned(message->nlmsg_len), datagram.size()));
  }
}

}  // namespace podfence::netlink
