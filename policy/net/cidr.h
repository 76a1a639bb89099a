#pragma once
// A CIDR block, an inclusive range of addresses, and sets of disjoint ranges.
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "policy/net/ip.h"

namespace podfence::net {

/// Inclusive at both ends, one family, first <= last.
struct IpRange {
  IpAddr first;
  IpAddr last;
  bool contains(const IpAddr& ip) const { return first <= ip && ip <= last; }
  friend auto operator<=>(const IpRange&, const IpRange&) = default;
};

class Cidr {
 public:
  /// "10.0.0.0/8". Host bits are masked away (conformance B-11); length beyond the family is an error.
  static Result<Cidr> parse(std::string_view text);
  /// The block of that length around an address.
  static Cidr around(const IpAddr& ip, std::uint8_t length);

  const IpAddr& base() const { return base_; }
  std::uint8_t length() const { return length_; }
  Family family() const { return base_.family(); }
  IpRange range() const;
  bool contains(const IpAddr& ip) const;
  bool contains(const Cidr& other) const;
  std::string text() const;

  friend auto operator<=>(const Cidr&, const Cidr&) = default;

 private:
  IpAddr base_;
  std::uint8_t length_ = 0;
};

/// Sorted, disjoint, merged where they touch.
std::vector<IpRange> merged(std::vector<IpRange> ranges);

/// What is in `from` and not in `what`; both any order, result sorted and disjoint. Exact at /0, /31, /32, ::/0 (B-18).
std::vector<IpRange> difference(const std::vector<IpRange>& from, const std::vector<IpRange>& what);

}  // namespace podfence::net
