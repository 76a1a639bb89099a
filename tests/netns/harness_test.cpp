// The harness that the other tests of this folder trust: without rules everything arrives where it should, and nothing
// else does.
#include <gtest/gtest.h>

#include <chrono>
#include <iostream>

#include "tests/netns/prober.h"
#include "tests/netns/topology.h"
#include "tests/support/netns.h"

namespace podfence::test {
namespace {

using namespace net::literals;

TopologySpec usual() {
  return {{"192.0.2.1"_ip, "fd00:c0::1"_ip},
          {{"10.0.1.1"_ip, "fd00:1::1"_ip}, {"10.0.1.2"_ip, "fd00:1::2"_ip}, {"10.0.1.3"_ip}}};
}

std::vector<Probe> every_pair(bool expected) {
  const std::vector<net::IpAddr> addresses{"192.0.2.1"_ip, "fd00:c0::1"_ip,  "10.0.1.1"_ip,   "fd00:1::1"_ip,
                                           "10.0.1.2"_ip,  "fd00:1::2"_ip,   "10.0.1.3"_ip,   "10.0.2.1"_ip,
                                           "192.0.2.2"_ip, "203.0.113.7"_ip, "2001:db8::7"_ip};
  std::vector<Probe> probes;
  for (const auto& source : addresses) {
    for (const auto& destination : addresses) {
      if (source.family() != destination.family()) continue;
      const bool v4 = source.family() == net::Family::ipv4;
      for (const auto protocol : {net::tcp, net::udp, net::sctp, v4 ? net::icmp : net::icmpv6, net::Protocol{99}}) {
        Probe probe;
        probe.flow = {source, destination, protocol,
                      net::Port{net::has_ports(protocol) ? std::uint16_t{80} : std::uint16_t{0}}};
        probe.expected = expected;
        probes.push_back(probe);
      }
    }
  }
  return probes;
}

void expect_all_arrive(const Topology& topology, Prober& prober) {
  const auto probes = every_pair(true);
  const auto outcomes = prober.run(probes);
  for (std::size_t i = 0; i < probes.size(); ++i) {
    const auto& flow = probes[i].flow;
    const auto text = flow.source.text() + " -> " + flow.destination.text() + " " + net::text_of(flow.protocol);
    ASSERT_TRUE(outcomes[i].arrived) << text;
    EXPECT_EQ(*outcomes[i].arrived, topology.place_of(flow.destination)) << text;
    EXPECT_EQ(outcomes[i].answered, is_answered(flow.protocol)) << text;
  }
}

TEST(Harness, EveryPairMeetsWithoutRules) {
  EXPECT_TRUE(in_new_netns([] {
    const auto start = std::chrono::steady_clock::now();
    const Topology topology(usual());
    const auto built = std::chrono::steady_clock::now();
    Prober prober(topology);
    const auto opened = std::chrono::steady_clock::now();
    expect_all_arrive(topology, prober);
    const auto probed = std::chrono::steady_clock::now();
    const auto ms = [](auto d) { return std::chrono::duration_cast<std::chrono::milliseconds>(d).count(); };
    std::cout << "built in " << ms(built - start) << " ms, sockets " << ms(opened - built) << " ms, probed in "
              << ms(probed - opened) << " ms\n";
  }));
}

TEST(Harness, EveryPairMeetsOnABridge) {
  EXPECT_TRUE(in_new_netns([] {
    auto spec = usual();
    spec.attachment = Attachment::bridged;
    const Topology topology(spec);
    Prober prober(topology);
    expect_all_arrive(topology, prober);
  }));
}

TEST(Harness, SeesWhatIsDropped) {
  EXPECT_TRUE(in_new_netns([] {
    const Topology topology(usual());
    Prober prober(topology);
    const auto* const rules = R"(table inet t {
      chain f {
        type filter hook forward priority 0
        ip daddr 10.0.1.2 drop
        ip6 daddr fd00:1::2 drop
      }
    })";
    ASSERT_EQ(run_with_input("nft -f -", rules).output, "");
    const auto probes = every_pair(false);
    const auto outcomes = prober.run(probes);
    for (std::size_t i = 0; i < probes.size(); ++i) {
      const auto& flow = probes[i].flow;
      const bool forwarded = topology.place_of(flow.source) != topology.place_of(flow.destination) &&
                             topology.place_of(flow.source) != at_node &&
                             topology.place_of(flow.destination) != at_node;
      const bool dropped = forwarded && (flow.destination == "10.0.1.2"_ip || flow.destination == "fd00:1::2"_ip);
      EXPECT_EQ(!outcomes[i].arrived, dropped)
          << flow.source.text() << " -> " << flow.destination.text() << " " << net::text_of(flow.protocol);
    }
  }));
}

TEST(Harness, FragmentsArriveAsOnePacket) {
  EXPECT_TRUE(in_new_netns([] {
    const Topology topology(usual());
    Prober prober(topology);
    for (const auto& [source, destination] :
         {std::pair{"10.0.1.1"_ip, "10.0.1.2"_ip}, std::pair{"fd00:1::1"_ip, "fd00:1::2"_ip}}) {
      Probe probe;
      probe.flow = {source, destination, net::udp, net::Port{80}};
      probe.payload = 3000;
      probe.fragment = 1200;
      probe.expected = true;
      EXPECT_TRUE(prober.run(probe).arrived) << source.text();
    }
  }));
}

}  // namespace
}  // namespace podfence::test
