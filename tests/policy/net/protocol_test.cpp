#include "policy/net/protocol.h"

#include <gtest/gtest.h>

#include <optional>
#include <vector>

#include "policy/net/flow.h"

namespace podfence::net {
namespace {

TEST(Protocol, reads_and_writes_text) {
  const std::vector<std::pair<std::string, std::optional<int>>> cases{
      {"TCP", 6},
      {"tcp", 6},
      {"UDP", 17},
      {"SCTP", 132},
      {"ICMP", 1},
      {"ICMPv6", 58},
      {"icmpv6", 58},
      {"0", 0},
      {"6", 6},
      {"255", 255},
      {"256", std::nullopt},
      {"-1", std::nullopt},
      {"+6", std::nullopt},
      {"6 ", std::nullopt},
      {"", std::nullopt},
      {"TC", std::nullopt},
      {"TCPx", std::nullopt},
  };
  for (const auto& [text, number] : cases) {
    SCOPED_TRACE(text);
    const auto protocol = parse_protocol(text);
    ASSERT_EQ(protocol.has_value(), number.has_value());
    if (!protocol) continue;
    EXPECT_EQ(protocol->number, *number);
  }
  for (unsigned number = 0; number < 256; ++number) {
    const Protocol protocol{static_cast<std::uint8_t>(number)};
    EXPECT_EQ(parse_protocol(text_of(protocol)), protocol);
  }
  EXPECT_EQ(text_of(sctp), "SCTP");
  EXPECT_EQ(text_of(Protocol{47}), "47");
}

TEST(Protocol, those_with_ports) {
  EXPECT_TRUE(has_ports(tcp) && has_ports(udp) && has_ports(sctp));
  EXPECT_FALSE(has_ports(icmp) || has_ports(icmpv6) || has_ports(Protocol{0}));
}

// T-18, T-20
TEST(PortRange, T_18_is_inclusive) {
  const PortRange range{Port{80}, Port{90}};
  EXPECT_FALSE(range.contains(Port{79}));
  EXPECT_TRUE(range.contains(Port{80}));
  EXPECT_TRUE(range.contains(Port{90}));
  EXPECT_FALSE(range.contains(Port{91}));
  EXPECT_FALSE(every_port.contains(Port{0}));
  EXPECT_TRUE(every_port.contains(Port{65535}));
}

TEST(Direction, has_a_name) {
  EXPECT_EQ(name_of(Direction::ingress), "ingress");
  EXPECT_EQ(name_of(Direction::egress), "egress");
}

}  // namespace
}  // namespace podfence::net
