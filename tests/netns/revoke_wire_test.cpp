// Flows that live while policy changes: what is forbidden now is cut at its next packet, everything else goes on.
#include <gtest/gtest.h>
#include <linux/netlink.h>

#include "enforcer/conntrack/revoke.h"
#include "enforcer/kernel/nft_kernel.h"
#include "policy/diff/diff.h"
#include "policy/program/trace.h"
#include "tests/netns/sockets.h"
#include "tests/netns/stage.h"
#include "tests/support/netns.h"

namespace podfence::test {
namespace {

constexpr net::Port web{80};

api::Object b_admits(const Pairs& peers) {
  return policy("p").selects({{"app", "b"}}).ingress(rule().pods(peers).port(80).port(81).port(53, net::udp));
}

/// What the agent does after a commit.
conntrack::Revoked revoke(const Stage& stage) {
  auto socket = netlink::Socket::open(NETLINK_NETFILTER);
  if (!socket) throw std::runtime_error(socket.error().what());
  const auto& program = stage.program();
  const auto done = conntrack::revoke(*socket, program.options.label_bit, [&](const net::Flow& flow) {
    return program::trace(program, program::first_packet(flow)).accepted;
  });
  if (!done) throw std::runtime_error(done.error().what());
  return *done;
}

std::optional<TcpPair> open_pair(const Stage& stage, std::string_view source, std::string_view destination,
                                 net::Port port = web) {
  const auto& topology = stage.topology();
  return TcpPair::open(topology, topology.place_of(ip(source)), ip(source), topology.place_of(ip(destination)),
                       {ip(destination), port});
}

class Revoke : public testing::TestWithParam<Attachment> {};

INSTANTIATE_TEST_SUITE_P(Attachments, Revoke, testing::Values(Attachment::routed, Attachment::bridged),
                         [](const auto& one) { return one.param == Attachment::routed ? "Routed" : "Bridged"; });

// the flow that a tighter policy forbids carries nothing more; the one that stays allowed loses no packet.
TEST_P(Revoke, X_01_X_02_CutsWhatIsForbiddenNowAndNothingElse) {
  EXPECT_TRUE(in_new_netns([] {
    Stage stage({policy("p").selects({{"app", "b"}}).ingress(rule().pods({{"app", "a"}}).pods({{"app", "c"}}))},
                GetParam());
    auto forbidden4 = open_pair(stage, a4, b4);
    auto forbidden6 = open_pair(stage, a6, b6, net::Port{81});
    auto allowed = open_pair(stage, c4, b4, net::Port{82});
    ASSERT_TRUE(forbidden4 && forbidden6 && allowed);
    ASSERT_TRUE(forbidden4->carries() && forbidden6->carries() && allowed->carries());

    stage.apply({policy("p").selects({{"app", "b"}}).ingress(rule().pods({{"app", "c"}}))});
    EXPECT_TRUE(forbidden4->carries()) << "the label lets it pass until it is cleared";
    const auto revoked = revoke(stage);
    EXPECT_EQ(revoked.labelled, 3U);
    EXPECT_EQ(revoked.cleared, 2U);
    EXPECT_GE(revoked.walked, 3U);
    EXPECT_FALSE(forbidden4->carries(false, soon));
    EXPECT_FALSE(forbidden6->carries(false, soon));
    EXPECT_TRUE(allowed->carries());
    EXPECT_EQ(revoke(stage).cleared, 0U);
  }));
}

// the server's packets are cut as the client's are: the first packet after the change may be either's.
TEST_P(Revoke, X_01_CutsTheReplyDirectionToo) {
  EXPECT_TRUE(in_new_netns([] {
    Stage stage({b_admits({{"app", "a"}})}, GetParam());
    auto pair4 = open_pair(stage, a4, b4);
    auto pair6 = open_pair(stage, a6, b6);
    ASSERT_TRUE(pair4 && pair6 && pair4->carries() && pair6->carries());
    stage.apply({b_admits({{"app", "c"}})});
    revoke(stage);
    EXPECT_FALSE(pair4->carries_back(soon));
    EXPECT_FALSE(pair6->carries_back(soon));
  }));
}

// X-01, egress: the pod whose own policy changes is the client, and the other end is far away.
TEST_P(Revoke, X_01_CutsAFlowThatLeavesTheNode) {
  EXPECT_TRUE(in_new_netns([] {
    Stage stage({policy("out").selects({{"app", "a"}}).egress(rule().block("203.0.113.0/24"))}, GetParam());
    auto pair = open_pair(stage, a4, stranger4);
    ASSERT_TRUE(pair && pair->carries());
    stage.apply({policy("out").selects({{"app", "a"}}).egress(rule().block("203.0.113.0/24", {"203.0.113.7/32"}))});
    EXPECT_EQ(revoke(stage).cleared, 1U);
    EXPECT_FALSE(pair->carries_back(soon));
    EXPECT_FALSE(pair->carries(false, soon));
  }));
}

// A flow that is cut is not gone: when policy allows it again, its segments pass and it is labelled again.
TEST_P(Revoke, AFlowThatIsAllowedAgainGoesOn) {
  EXPECT_TRUE(in_new_netns([] {
    Stage stage({b_admits({{"app", "a"}})}, GetParam());
    auto pair = open_pair(stage, a4, b4);
    ASSERT_TRUE(pair && pair->carries());
    stage.apply({b_admits({{"app", "c"}})});
    revoke(stage);
    ASSERT_FALSE(pair->carries(false, soon));
    stage.apply({b_admits({{"app", "a"}})});
    EXPECT_TRUE(pair->carries_back());
    EXPECT_EQ(revoke(stage).labelled, 1U);
  }));
}

// A flow from before any policy has no label: the policy that comes judges it without a walk.
TEST_P(Revoke, X_01_AFirstPolicyNeedsNoWalk) {
  EXPECT_TRUE(in_new_netns([] {
    Stage stage({}, GetParam());
    auto forbidden = open_pair(stage, a4, b4);
    auto allowed = open_pair(stage, c4, b4, net::Port{81});
    ASSERT_TRUE(forbidden && allowed && forbidden->carries() && allowed->carries());
    stage.apply({b_admits({{"app", "c"}})});
    EXPECT_FALSE(forbidden->carries(false, soon));
    EXPECT_FALSE(forbidden->carries_back(soon));
    EXPECT_TRUE(allowed->carries());
  }));
}

// the address goes to another pod; nothing of the old pod's flows is inherited.
TEST_P(Revoke, X_03_ANewOwnerOfAnAddressInheritsNoFlow) {
  EXPECT_TRUE(in_new_netns([] {
    Stage stage({b_admits({{"app", "c"}})}, GetParam());
    auto pair = open_pair(stage, c4, b4);
    ASSERT_TRUE(pair && pair->carries());
    stage.apply({pod("c").label("app", "other").ip(c4).node("n2")});
    EXPECT_EQ(revoke(stage).cleared, 1U);
    EXPECT_FALSE(pair->carries(false, soon));
    EXPECT_FALSE(stage.passes(c4, b4, net::tcp, 80));
  }));
}

// X-01 through a service: the entry's own destination is the service, the verdict is on the endpoint.
TEST_P(Revoke, X_01_JudgesTheEndpointOfAService) {
  EXPECT_TRUE(in_new_netns([] {
    Stage stage({policy("out").selects({{"app", "a"}}).egress(rule().pods({{"app", "b"}}).port(8080))}, GetParam());
    add_foreign_rules(
        "table ip nat {\nchain pre {\ntype nat hook prerouting priority dstnat\n"
        "ip daddr 10.96.0.10 tcp dport 80 dnat to 10.0.1.2:8080\n}\n}\n");
    auto pair =
        TcpPair::open(stage.topology(), at_a, ip(a4), at_b, {ip(b4), net::Port{8080}}, Endpoint{ip("10.96.0.10"), web});
    ASSERT_TRUE(pair && pair->carries());
    EXPECT_EQ(revoke(stage).cleared, 0U);
    EXPECT_TRUE(pair->carries());
    stage.apply({policy("out").selects({{"app", "a"}}).egress(rule().pods({{"app", "b"}}).port(80))});
    EXPECT_EQ(revoke(stage).cleared, 1U);
    EXPECT_FALSE(pair->carries(false, soon));
  }));
}

// UDP and the ping, which conntrack tells apart by other fields.
TEST_P(Revoke, X_01_CutsUdpAndPing) {
  EXPECT_TRUE(in_new_netns([] {
    Stage stage({policy("p").selects({{"app", "b"}}).ingress(rule().pods({{"app", "a"}}))}, GetParam());
    UdpSocket server(stage.topology(), at_b, {ip(b4), net::Port{53}});
    UdpSocket client(stage.topology(), at_a, {ip(a4), net::Port{0}});
    client.connect({ip(b4), net::Port{53}});
    ASSERT_TRUE(client.send("?"));
    ASSERT_EQ(server.receive(), "?");
    ASSERT_TRUE(server.answer("!"));
    ASSERT_EQ(client.receive(), "!");
    PacketSpec ping;
    ping.flow = flow(a6, b6, net::icmpv6);
    ping.id = 7;
    RawListener listener(stage.topology(), at_b, net::Family::ipv6, net::icmpv6);
    ASSERT_TRUE(stage.prober().send(at_a, packet_of(ping)));
    ASSERT_TRUE(listener.hears(patient));

    stage.apply({b_admits({{"app", "c"}})});
    EXPECT_EQ(revoke(stage).cleared, 2U);
    EXPECT_TRUE(server.answer("late"));
    EXPECT_EQ(client.receive(soon), std::nullopt);
    EXPECT_TRUE(client.send("again"));
    EXPECT_EQ(server.receive(soon), std::nullopt);
    ASSERT_TRUE(stage.prober().send(at_a, packet_of(ping)));
    EXPECT_FALSE(listener.hears());
  }));
}

// an agent that starts again and installs the whole table anew, in one transaction, cuts no allowed flow.
TEST_P(Revoke, R_07_AllowedFlowsSurviveAFreshInstall) {
  EXPECT_TRUE(in_new_netns([] {
    Stage stage({b_admits({{"app", "a"}})}, GetParam());
    auto pair = open_pair(stage, a4, b4);
    ASSERT_TRUE(pair && pair->carries());
    for (int i = 0; i < 3; ++i) {
      load(stage.program());
      EXPECT_TRUE(pair->carries());
      EXPECT_EQ(revoke(stage).cleared, 0U);
    }
  }));
}

// a segment in the middle of a connection that conntrack does not know is judged like a first one.
TEST_P(Revoke, X_13_AMidStreamSegmentIsNoBypass) {
  EXPECT_TRUE(in_new_netns([] {
    Stage stage({b_admits({{"app", "a"}})}, GetParam());
    auto allowed = open_pair(stage, a4, b4);
    ASSERT_TRUE(allowed && allowed->carries());
    flush_conntrack();
    EXPECT_TRUE(allowed->carries()) << "picked up again, and judged as allowed";
    FrameListener listener(stage.topology(), at_b, 0x0800);
    PacketSpec spec;
    spec.flow = flow(stranger4, b4, net::tcp, 80);
    spec.source_port = net::Port{4000};
    constexpr std::uint8_t ack = 0x10;
    spec.tcp_flags = ack;
    ASSERT_TRUE(stage.prober().send(at_outside, packet_of(spec)));
    EXPECT_FALSE(listener.hears_from(ip(stranger4)));  // the connection above may still say something
  }));
}

}  // namespace
}  // namespace podfence::test
