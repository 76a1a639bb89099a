#include "policy/net/cidr.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

#include "tests/support/builders.h"

namespace podfence::net {
namespace {

using test::cidr;
using test::ip;

struct ParseCase {
  std::string text;
  std::string canonical;  // "" when it is no block
};

TEST(Cidr, reads_and_writes_text) {
  const std::vector<ParseCase> cases{
      {"0.0.0.0/0", "0.0.0.0/0"},
      {"10.0.0.0/8", "10.0.0.0/8"},
      {"10.1.2.3/8", "10.0.0.0/8"},        // B-11
      {"10.0.0.5/24", "10.0.0.0/24"},      // B-11
      {"10.0.0.255/31", "10.0.0.254/31"},  // B-11
      {"10.0.0.1/32", "10.0.0.1/32"},
      {"255.255.255.255/1", "128.0.0.0/1"},
      {"::/0", "::/0"},
      {"2001:db8::1/64", "2001:db8::/64"},  // B-11
      {"2001:db8::1/128", "2001:db8::1/128"},
      {"2001:db8::ff/127", "2001:db8::fe/127"},
      {"::ffff:10.0.0.1/104", "10.0.0.0/8"},   // 6-05
      {"::ffff:10.0.0.1/128", "10.0.0.1/32"},  // 6-05
      {"::ffff:10.0.0.1/96", "0.0.0.0/0"},
      {"::ffff:10.0.0.1/95", ""},
      {"10.0.0.0", ""},
      {"10.0.0.0/", ""},
      {"/8", ""},
      {"10.0.0.0/33", ""},
      {"10.0.0.0/-1", ""},
      {"10.0.0.0/+8", ""},
      {"10.0.0.0/8 ", ""},
      {"10.0.0.0/8/8", ""},
      {"10.0.0.0/255.0.0.0", ""},
      {"10.0.0.0/4294967304", ""},
      {"10.0.0/8", ""},
      {"::/129", ""},
      {"", ""},
      {"all", ""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    const auto block = Cidr::parse(c.text);
    ASSERT_EQ(block.has_value(), !c.canonical.empty());
    if (!block) continue;
    EXPECT_EQ(block->text(), c.canonical);
    EXPECT_EQ(Cidr::parse(block->text()), *block);
  }
}

TEST(Cidr, knows_what_it_contains) {
  EXPECT_TRUE(cidr("10.0.0.0/8").contains(ip("10.255.255.255")));
  EXPECT_FALSE(cidr("10.0.0.0/8").contains(ip("11.0.0.0")));
  EXPECT_FALSE(cidr("10.0.0.0/8").contains(ip("9.255.255.255")));
  EXPECT_TRUE(cidr("0.0.0.0/0").contains(ip("255.255.255.255")));
  EXPECT_FALSE(cidr("0.0.0.0/0").contains(ip("::")));  // B-09
  EXPECT_FALSE(cidr("::/0").contains(ip("0.0.0.0")));  // B-09
  EXPECT_TRUE(cidr("::/0").contains(ip("ffff::")));
  EXPECT_TRUE(cidr("10.0.0.0/8").contains(cidr("10.1.0.0/16")));
  EXPECT_TRUE(cidr("10.0.0.0/8").contains(cidr("10.0.0.0/8")));
  EXPECT_FALSE(cidr("10.1.0.0/16").contains(cidr("10.0.0.0/8")));
  EXPECT_FALSE(cidr("0.0.0.0/0").contains(cidr("::/64")));
  EXPECT_EQ(cidr("10.0.0.0/31").range(), (IpRange{ip("10.0.0.0"), ip("10.0.0.1")}));
  EXPECT_EQ(cidr("::/0").range(), (IpRange{ip("::"), ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")}));
}

/// "10.0.0.0/31,::/0" or "10.0.0.5-10.0.0.9"
std::vector<IpRange> ranges(const std::string& list) {
  std::vector<IpRange> out;
  std::size_t from = 0;
  while (from < list.size()) {
    const std::size_t end = std::min(list.find(',', from), list.size());
    const std::string one = list.substr(from, end - from);
    const std::size_t dash = one.find('-');
    out.push_back(dash == std::string::npos ? cidr(one).range()
                                            : IpRange{ip(one.substr(0, dash)), ip(one.substr(dash + 1))});
    from = end + 1;
  }
  return out;
}

struct DifferenceCase {
  std::string name;
  std::string from;
  std::string what;
  std::string left;
};

// B-18, B-03, B-08, B-10
TEST(Difference, B_18_is_exact_at_the_edges) {
  const std::string v6_last = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
  const std::vector<DifferenceCase> cases{
      {"nothing from nothing", "", "", ""},
      {"something from nothing", "", "0.0.0.0/0", ""},
      {"nothing from something", "10.0.0.0/8", "", "10.0.0.0/8"},
      {"all of it", "10.0.0.0/8", "10.0.0.0/8", ""},
      {"more than all", "10.0.0.0/8", "0.0.0.0/0", ""},
      {"beside it", "10.0.0.0/8", "11.0.0.0/8,9.0.0.0/8", "10.0.0.0/8"},
      {"the other family", "0.0.0.0/0,::/0", "::/0", "0.0.0.0/0"},
      {"the first address of all", "0.0.0.0/0", "0.0.0.0/32", "0.0.0.1-255.255.255.255"},
      {"the last address of all", "0.0.0.0/0", "255.255.255.255/32", "0.0.0.0-255.255.255.254"},
      {"lower half", "0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1"},
      {"upper half", "0.0.0.0/0", "128.0.0.0/1", "0.0.0.0/1"},
      {"both halves", "0.0.0.0/0", "0.0.0.0/1,128.0.0.0/1", ""},
      {"0.0.0.0/31 from all", "0.0.0.0/0", "0.0.0.0/31", "0.0.0.2-255.255.255.255"},
      {"one of two", "10.0.0.0/31", "10.0.0.0/32", "10.0.0.1/32"},
      {"the other of two", "10.0.0.0/31", "10.0.0.1/32", "10.0.0.0/32"},
      {"one of one", "10.0.0.1/32", "10.0.0.1/32", ""},
      {"the middle", "10.0.0.0/24", "10.0.0.64/26", "10.0.0.0-10.0.0.63,10.0.0.128-10.0.0.255"},
      {"B-08 adjacent", "10.0.0.0/24", "10.0.0.64/26,10.0.0.128/26", "10.0.0.0-10.0.0.63,10.0.0.192-10.0.0.255"},
      {"B-08 nested", "10.0.0.0/24", "10.0.0.0/25,10.0.0.0/26,10.0.0.1/32", "10.0.0.128/25"},
      {"overlapping minuends", "10.0.0.0/24,10.0.0.128/25,10.0.1.0/24", "10.0.0.255/32",
       "10.0.0.0-10.0.0.254,10.0.1.0/24"},
      {"a hole across two", "10.0.0.0/32,10.0.0.2/32", "10.0.0.0-10.0.0.2", ""},
      {"B-13 first of ::/0", "::/0", "::/128", "::1-" + v6_last},
      {"B-13 last of ::/0", "::/0", v6_last + "/128", "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe"},
      {"B-13 /127", "2001:db8::/127", "2001:db8::1/128", "2001:db8::/128"},
      {"last of IPv4 and first of IPv6 do not touch", "255.255.255.255/32,::/128", "", "255.255.255.255/32,::/128"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(difference(ranges(c.from), ranges(c.what)), ranges(c.left));
  }
}

TEST(Merged, joins_what_overlaps_or_touches) {
  EXPECT_EQ(merged(ranges("10.0.1.0/24,10.0.0.0/24")), ranges("10.0.0.0/23"));
  EXPECT_EQ(merged(ranges("10.0.0.0/8,10.1.0.0/16,10.0.0.0/8")), ranges("10.0.0.0/8"));  // B-12
  EXPECT_EQ(merged(ranges("10.0.0.0/32,10.0.0.2/32")), ranges("10.0.0.0/32,10.0.0.2/32"));
  EXPECT_EQ(merged(ranges("0.0.0.0/0,255.255.255.255/32,::/0,::1/128")), ranges("0.0.0.0/0,::/0"));
  EXPECT_EQ(merged({}), std::vector<IpRange>{});
}

TEST(Difference, is_what_membership_says) {
  const char* given = std::getenv("PODFENCE_SEED");
  const unsigned seed =
      given != nullptr ? static_cast<unsigned>(std::strtoul(given, nullptr, 10)) : std::random_device{}();
  SCOPED_TRACE("PODFENCE_SEED=" + std::to_string(seed));
  std::mt19937 random(seed);
  const auto pick = [&](unsigned below) { return static_cast<std::uint8_t>(random() % below); };
  const auto some = [&] {
    std::vector<IpRange> out;
    for (unsigned i = pick(5); i > 0; --i) {
      out.push_back(
          Cidr::around(IpAddr::v4(255, 255, 255, pick(255)), static_cast<std::uint8_t>(24 + pick(9))).range());
    }
    return out;
  };
  const auto within = [](const std::vector<IpRange>& all, const IpAddr& one) {
    return std::any_of(all.begin(), all.end(), [&](const IpRange& r) { return r.contains(one); });
  };
  for (int round = 0; round < 2000; ++round) {
    const auto from = some();
    const auto what = some();
    const auto left = difference(from, what);
    EXPECT_EQ(left, merged(left));
    for (unsigned last = 0; last < 256; ++last) {
      const IpAddr one = IpAddr::v4(255, 255, 255, static_cast<std::uint8_t>(last));
      ASSERT_EQ(within(left, one), within(from, one) && !within(what, one)) << one.text();
    }
  }
}

}  // namespace
}  // namespace podfence::net
