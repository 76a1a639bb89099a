#pragma once
// An IPv4 or IPv6 address. Bytes are in network order; an IPv4 address uses the first four and keeps the rest zero, so
// that comparing bytes compares addresses. Order: all of IPv4, then all of IPv6, each ascending.
#include <array>
#include <bit>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "policy/base/result.h"

namespace podfence::net {

enum class Family : std::uint8_t { ipv4 = 4, ipv6 = 6 };

inline constexpr std::array<Family, 2> families{Family::ipv4, Family::ipv6};

/// Bytes of an address of that family: 4 or 16.
inline constexpr std::size_t address_size(Family f) {
  return f == Family::ipv4 ? 4 : 16;
}

class IpAddr {
 public:
  constexpr IpAddr() = default;  // 0.0.0.0
  static constexpr IpAddr v4(std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d) {
    IpAddr ip;
    ip.bytes_ = {a, b, c, d};
    return ip;
  }
  static IpAddr v6(const std::array<std::uint8_t, 16>& bytes);
  /// 4 or 16 bytes in network order, else nothing.
  static std::optional<IpAddr> from_bytes(std::span<const std::byte> bytes);
  /// Any usual text form; an IPv4-mapped IPv6 address becomes the IPv4 address (conformance 6-05). No zone, no prefix.
  static Result<IpAddr> parse(std::string_view text);

  constexpr Family family() const { return family_; }
  constexpr const std::array<std::uint8_t, 16>& storage() const { return bytes_; }
  std::span<const std::uint8_t> bytes() const { return {bytes_.data(), address_size(family_)}; }
  std::string text() const;  // RFC 5952 for IPv6

  /// The address after or before this one; nothing at the end of the family.
  std::optional<IpAddr> next() const;
  std::optional<IpAddr> previous() const;

  friend constexpr bool operator==(const IpAddr& a, const IpAddr& b) {
    return a.family_ == b.family_ && a.words() == b.words();
  }
  friend constexpr std::strong_ordering operator<=>(const IpAddr& a, const IpAddr& b) {
    if (const auto by_family = a.family_ <=> b.family_; by_family != 0) return by_family;
    return a.words() <=> b.words();
  }

 private:
  /// The bytes as two numbers, which compare as the bytes do, but faster: large changes are sorted by address.
  constexpr std::array<std::uint64_t, 2> words() const {
    const auto raw = std::bit_cast<std::array<std::uint64_t, 2>>(bytes_);
    if constexpr (std::endian::native == std::endian::big) return raw;
    return {__builtin_bswap64(raw[0]), __builtin_bswap64(raw[1])};
  }

  Family family_ = Family::ipv4;
  std::array<std::uint8_t, 16> bytes_{};
};

/// For hash maps.
struct IpAddrHash {
  std::size_t operator()(const IpAddr& ip) const noexcept;
};

namespace literals {
/// "10.0.0.1"_ip; throws std::invalid_argument when it is none (tests and constants only).
IpAddr operator""_ip(const char* text, std::size_t length);
}  // namespace literals

}  // namespace podfence::net
