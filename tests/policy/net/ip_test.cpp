#include "policy/net/ip.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <vector>

#include "tests/support/builders.h"

namespace podfence::net {
namespace {

using literals::operator""_ip;

struct Case {
  std::string text;
  std::string canonical;  // "" when it is no address
};

TEST(IpAddr, reads_and_writes_text) {
  const std::vector<Case> cases{
      {"0.0.0.0", "0.0.0.0"},
      {"10.0.0.1", "10.0.0.1"},
      {"255.255.255.255", "255.255.255.255"},
      {"::", "::"},
      {"::1", "::1"},
      {"2001:db8::1", "2001:db8::1"},
      {"2001:DB8:0:0:0:0:0:1", "2001:db8::1"},  // 6-05
      {"2001:0db8::0001", "2001:db8::1"},       // 6-05
      {"2001:db8:0:1:0:0:0:1", "2001:db8:0:1::1"},
      {"fe80::1", "fe80::1"},
      {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
      {"::ffff:10.0.0.1", "10.0.0.1"},  // 6-05
      {"::ffff:a00:1", "10.0.0.1"},     // 6-05
      {"::fffe:10.0.0.1", "::fffe:a00:1"},
      {"", ""},
      {"10.0.0", ""},
      {"10.0.0.1.2", ""},
      {"10.0.0.256", ""},
      {"10.0.0.-1", ""},
      {"10.0.0.01", ""},
      {"10.0.0.1 ", ""},
      {" 10.0.0.1", ""},
      {"10.0.0.1/8", ""},
      {"0x0a.0.0.1", ""},
      {"167772161", ""},
      {"1::2::3", ""},
      {":::", ""},
      {"fe80::1%eth0", ""},
      {"[::1]", ""},
      {"12345::", ""},
      {std::string("10.0.0.1\0", 9), ""},
      {std::string("::1\0x", 5), ""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    const auto ip = IpAddr::parse(c.text);
    ASSERT_EQ(ip.has_value(), !c.canonical.empty());
    if (!ip) continue;
    EXPECT_EQ(ip->text(), c.canonical);
    EXPECT_EQ(IpAddr::parse(ip->text()), *ip);
    EXPECT_EQ(ip->family(), c.canonical.find(':') == std::string::npos ? Family::ipv4 : Family::ipv6);
  }
}

TEST(IpAddr, orders_ipv4_before_ipv6_and_each_ascending) {
  const std::vector<IpAddr> sorted{
      "0.0.0.0"_ip, "9.255.255.255"_ip, "10.0.0.0"_ip, "128.0.0.0"_ip, "255.255.255.255"_ip,
      "::"_ip,      "::1"_ip,           "a00::"_ip,    "fe80::"_ip,    "ffff::"_ip};
  EXPECT_TRUE(std::is_sorted(sorted.begin(), sorted.end()));
}

TEST(IpAddr, steps_to_its_neighbours) {
  EXPECT_EQ("10.0.0.255"_ip.next(), "10.0.1.0"_ip);
  EXPECT_EQ("10.0.1.0"_ip.previous(), "10.0.0.255"_ip);
  EXPECT_EQ("255.255.255.255"_ip.next(), std::nullopt);  // B-18
  EXPECT_EQ("0.0.0.0"_ip.previous(), std::nullopt);      // B-18
  EXPECT_EQ("::ffff"_ip.next(), "::1:0"_ip);
  EXPECT_EQ("::1:0"_ip.previous(), "::ffff"_ip);
  EXPECT_EQ("::"_ip.previous(), std::nullopt);
  EXPECT_EQ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"_ip.next(), std::nullopt);
}

TEST(IpAddr, comes_from_4_or_16_bytes) {
  const std::vector<std::byte> bytes(17, std::byte{1});
  const std::span<const std::byte> all(bytes);
  EXPECT_EQ(IpAddr::from_bytes(all.first(4)), "1.1.1.1"_ip);
  EXPECT_EQ(IpAddr::from_bytes(all.first(16)), "101:101:101:101:101:101:101:101"_ip);
  for (const std::size_t size : {0U, 3U, 5U, 15U, 17U}) EXPECT_EQ(IpAddr::from_bytes(all.first(size)), std::nullopt);
  EXPECT_EQ("1.2.3.4"_ip.bytes().size(), 4U);
  EXPECT_EQ("::"_ip.bytes().size(), 16U);
}

TEST(IpAddr, hashes_spread) {
  std::set<std::size_t> low_bits;
  const IpAddrHash hash;
  IpAddr ip = "10.0.0.0"_ip;
  for (int i = 0; i < 4096; ++i, ip = *ip.next()) low_bits.insert(hash(ip) % 4096);
  EXPECT_GT(low_bits.size(), 2000U);
}

TEST(IpAddr, a_wrong_literal_throws) {
  EXPECT_THROW("10.0.0"_ip, std::invalid_argument);
}

}  // namespace
}  // namespace podfence::net
