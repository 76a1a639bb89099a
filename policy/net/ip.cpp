#include "policy/net/ip.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace podfence::net {
namespace {

constexpr std::array<std::uint8_t, 12> mapped_prefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

}  // namespace

IpAddr IpAddr::v6(const std::array<std::uint8_t, 16>& bytes) {
  IpAddr ip;
  ip.family_ = Family::ipv6;
  ip.bytes_ = bytes;
  return ip;
}

std::optional<IpAddr> IpAddr::from_bytes(std::span<const std::byte> bytes) {
  if (bytes.size() != 4 && bytes.size() != 16) return std::nullopt;
  IpAddr ip;
  ip.family_ = bytes.size() == 4 ? Family::ipv4 : Family::ipv6;
  std::memcpy(ip.bytes_.data(), bytes.data(), bytes.size());
  return ip;
}

Result<IpAddr> IpAddr::parse(std::string_view text) {
  const std::string terminated(text);
  IpAddr ip;
  if (terminated.size() == text.size() && terminated.find('\0') == std::string::npos) {
    if (inet_pton(AF_INET, terminated.c_str(), ip.bytes_.data()) == 1) return ip;
    ip.bytes_ = {};
    if (inet_pton(AF_INET6, terminated.c_str(), ip.bytes_.data()) == 1) {
      if (std::equal(mapped_prefix.begin(), mapped_prefix.end(), ip.bytes_.begin())) {
        return v4(ip.bytes_[12], ip.bytes_[13], ip.bytes_[14], ip.bytes_[15]);
      }
      ip.family_ = Family::ipv6;
      return ip;
    }
  }
  return fail(Errc::invalid, "'" + terminated + "' is not an IP address");
}

std::string IpAddr::text() const {
  std::array<char, INET6_ADDRSTRLEN> out{};
  inet_ntop(family_ == Family::ipv4 ? AF_INET : AF_INET6, bytes_.data(), out.data(), out.size());
  return out.data();
}

std::optional<IpAddr> IpAddr::next() const {
  IpAddr ip = *this;
  for (std::size_t i = address_size(family_); i-- > 0;) {
    if (++ip.bytes_[i] != 0) return ip;
  }
  return std::nullopt;
}

std::optional<IpAddr> IpAddr::previous() const {
  IpAddr ip = *this;
  for (std::size_t i = address_size(family_); i-- > 0;) {
    if (ip.bytes_[i]-- != 0) return ip;
  }
  return std::nullopt;
}

std::size_t IpAddrHash::operator()(const IpAddr& ip) const noexcept {
  std::uint64_t a = 0;
  std::uint64_t b = 0;
  std::memcpy(&a, ip.storage().data(), 8);
  std::memcpy(&b, ip.storage().data() + 8, 8);
  std::uint64_t h = (a ^ (b * 0x9e3779b97f4a7c15ULL)) * 0xff51afd7ed558ccdULL;
  h ^= h >> 32U;
  return static_cast<std::size_t>(h);
}

namespace literals {

IpAddr operator""_ip(const char* text, std::size_t length) {
  auto parsed = IpAddr::parse(std::string_view(text, length));
  if (!parsed) throw std::invalid_argument(parsed.error().what());
  return *parsed;
}

}  // namespace literals

}  // namespace podfence::net
