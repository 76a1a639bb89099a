#include "policy/model/port_set.h"

#include <gtest/gtest.h>

namespace podfence::model {
namespace {

using net::Port;
using net::PortRange;

PortRange range(std::uint16_t first, std::uint16_t last) {
  return {Port{first}, Port{last}};
}

struct Case {
  const char* name;
  std::vector<ProtocolPorts> added;
  std::vector<ProtocolPorts> expected;
};

// Covers T-27: what overlaps or touches is one range, so that it loads into an interval set.
TEST(PortSet, ranges_become_canonical) {
  const std::vector<Case> cases{
      {"one", {{net::tcp, range(80, 80)}}, {{net::tcp, range(80, 80)}}},
      {"twice the same", {{net::tcp, range(80, 80)}, {net::tcp, range(80, 80)}}, {{net::tcp, range(80, 80)}}},
      {"overlap", {{net::tcp, range(85, 95)}, {net::tcp, range(80, 90)}}, {{net::tcp, range(80, 95)}}},
      {"touch", {{net::tcp, range(81, 81)}, {net::tcp, range(80, 80)}}, {{net::tcp, range(80, 81)}}},
      {"inside", {{net::tcp, range(1, 65535)}, {net::tcp, range(80, 90)}}, {{net::tcp, range(1, 65535)}}},
      {"touch at the end",
       {{net::tcp, range(65535, 65535)}, {net::tcp, range(1, 65534)}},
       {{net::tcp, range(1, 65535)}}},
      {"apart",
       {{net::tcp, range(82, 82)}, {net::tcp, range(80, 80)}},
       {{net::tcp, range(80, 80)}, {net::tcp, range(82, 82)}}},
      {"each protocol by itself (T-23, T-24)",
       {{net::udp, range(53, 53)}, {net::tcp, range(53, 54)}, {net::sctp, range(54, 54)}},
       {{net::tcp, range(53, 54)}, {net::udp, range(53, 53)}, {net::sctp, range(54, 54)}}},
      {"port 0 never appears (T-30)", {{net::tcp, range(0, 0)}}, {}},
      {"a range from port 0 starts at 1 (T-30)", {{net::tcp, range(0, 5)}}, {{net::tcp, range(1, 5)}}},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    PortSetBuilder builder;
    for (const ProtocolPorts& ports : c.added) builder.add(ports.protocol, ports.ports);
    const PortSet set = builder.finish();
    EXPECT_FALSE(set.any);
    EXPECT_TRUE(set.protocols.empty());
    EXPECT_EQ(set.ranges, c.expected);
  }
}

// Covers T-02: a whole protocol makes its ranges superfluous, and those of no other.
TEST(PortSet, a_whole_protocol_has_no_ranges) {
  PortSetBuilder builder;
  builder.add(net::tcp, range(80, 80));
  builder.add(net::udp, range(53, 53));
  builder.add_protocol(net::tcp);
  const PortSet set = builder.finish();
  EXPECT_EQ(set.protocols, std::vector{net::tcp});
  EXPECT_EQ(set.ranges, (std::vector<ProtocolPorts>{{net::udp, range(53, 53)}}));
}

// Every port of a protocol is not the whole protocol: a packet to port 0 is admitted by the latter only.
TEST(PortSet, every_port_is_not_the_whole_protocol) {
  PortSetBuilder builder;
  builder.add(net::tcp, net::every_port);
  const PortSet ports = builder.finish();
  builder.add_protocol(net::tcp);
  EXPECT_NE(ports, builder.finish());
}

// Covers U-03: allow-all beside a restrictive rule is allow-all.
TEST(PortSet, any_makes_all_else_superfluous) {
  PortSetBuilder builder;
  builder.add(net::tcp, range(80, 80));
  builder.add_protocol(net::udp);
  builder.add_any();
  PortSet any;
  any.any = true;
  EXPECT_EQ(builder.finish(), any);
}

TEST(PortSet, finish_starts_anew) {
  PortSetBuilder builder;
  builder.add_any();
  builder.add_protocol(net::tcp);
  builder.add(net::udp, range(1, 2));
  builder.finish();
  EXPECT_TRUE(builder.finish().empty());
}

TEST(PortSet, adding_a_set_adds_all_of_it) {
  PortSetBuilder builder;
  builder.add_protocol(net::sctp);
  builder.add(net::udp, range(1, 2));
  const PortSet set = builder.finish();
  builder.add(set);
  builder.add(net::udp, range(3, 3));
  const PortSet more = builder.finish();
  EXPECT_EQ(more.protocols, std::vector{net::sctp});
  EXPECT_EQ(more.ranges, (std::vector<ProtocolPorts>{{net::udp, range(1, 3)}}));
}

}  // namespace
}  // namespace podfence::model
