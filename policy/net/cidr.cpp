#include "policy/net/cidr.h"

#include <algorithm>
#include <charconv>

namespace podfence::net {
namespace {

IpAddr with_host_bits(const IpAddr& ip, std::uint8_t length, bool ones) {
  auto bytes = ip.storage();
  for (std::size_t bit = length; bit < address_size(ip.family()) * 8; ++bit) {
    const auto mask = static_cast<std::uint8_t>(0x80U >> (bit % 8));
    if (ones) {
      bytes[bit / 8] = static_cast<std::uint8_t>(bytes[bit / 8] | mask);
    } else {
      bytes[bit / 8] = static_cast<std::uint8_t>(bytes[bit / 8] & ~mask);
    }
  }
  return ip.family() == Family::ipv4 ? IpAddr::v4(bytes[0], bytes[1], bytes[2], bytes[3]) : IpAddr::v6(bytes);
}

}  // namespace

Cidr Cidr::around(const IpAddr& ip, std::uint8_t length) {
  Cidr cidr;
  cidr.length_ = std::min<std::uint8_t>(length, static_cast<std::uint8_t>(address_size(ip.family()) * 8));
  cidr.base_ = with_host_bits(ip, cidr.length_, false);
  return cidr;
}

Result<Cidr> Cidr::parse(std::string_view text) {
  const auto bad = [&] { return fail(Errc::invalid, "'" + std::string(text) + "' is not a CIDR block"); };
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) return bad();
  const auto digits = text.substr(slash + 1);
  unsigned length = 0;
  const auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), length);
  if (digits.empty() || digits.size() > 3 || ec != std::errc{} || end != digits.data() + digits.size()) return bad();
  const auto ip = IpAddr::parse(text.substr(0, slash));
  if (!ip) return bad();
  const bool mapped = ip->family() == Family::ipv4 && text.substr(0, slash).find(':') != std::string_view::npos;
  if (mapped) {
    if (length < 96) return bad();
    length -= 96;
  }
  if (length > address_size(ip->family()) * 8) return bad();
  return around(*ip, static_cast<std::uint8_t>(length));
}

IpRange Cidr::range() const {
  return {base_, with_host_bits(base_, length_, true)};
}

bool Cidr::contains(const IpAddr& ip) const {
  return ip.family() == base_.family() && with_host_bits(ip, length_, false) == base_;
}

bool Cidr::contains(const Cidr& other) const {
  return other.length_ >= length_ && contains(other.base_);
}

std::string Cidr::text() const {
  return base_.text() + "/" + std::to_string(length_);
}

std::vector<IpRange> merged(std::vector<IpRange> ranges) {
  std::sort(ranges.begin(), ranges.end());
  std::vector<IpRange> out;
  for (const auto& r : ranges) {
    if (!out.empty() && out.back().last.family() == r.first.family()) {
      const auto after = out.back().last.next();
      if (!after || r.first <= *after) {
        out.back().last = std::max(out.back().last, r.last);
        continue;
      }
    }
    out.push_back(r);
  }
  return out;
}

std::vector<IpRange> difference(const std::vector<IpRange>& from, const std::vector<IpRange>& what) {
  const auto holes = merged(what);
  std::vector<IpRange> out;
  for (auto rest : merged(from)) {
    bool any_left = true;
    for (const auto& hole : holes) {
      if (hole.last < rest.first || rest.last < hole.first) continue;
      if (rest.first < hole.first) out.push_back({rest.first, *hole.first.previous()});
      if (rest.last <= hole.last) {
        any_left = false;
        break;
      }
      rest.first = *hole.last.next();
    }
    if (any_left) out.push_back(rest);
  }
  return out;
}

}  // namespace podfence::net
