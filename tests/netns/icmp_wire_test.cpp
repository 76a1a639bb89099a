// ICMP, neighbour discovery, ARP and multicast: what belongs to an allowed flow or to the link passes, the rest is
// judged.
#include <gtest/gtest.h>

#include <cerrno>

#include "tests/netns/sockets.h"
#include "tests/netns/stage.h"
#include "tests/support/netns.h"

namespace podfence::test {
namespace {

constexpr std::uint16_t dns = 53;

/// a may ask the stranger's port 53 and nothing else may come or go.
std::vector<api::Object> a_may_ask() {
  return {policy("p")
              .selects({{"app", "a"}})
              .deny_ingress()
              .egress(rule().block("203.0.113.7/32").block("2001:db8::7/128").port(dns, net::udp))};
}

// an echo request is a new flow like any other.
TEST(Icmp, X_06_X_08_EchoNeedsARuleWithoutPorts) {
  EXPECT_TRUE(in_new_netns([] {
    Stage stage({policy("ports").selects({{"app", "a"}}).ingress(rule().pods({{"app", "b"}}).port(80)),
                 policy("peers").selects({{"app", "b"}}).ingress(rule().pods({{"app", "a"}}))});
    EXPECT_FALSE(stage.passes(b4, a4, net::icmp));
    EXPECT_FALSE(stage.passes(b6, a6, net::icmpv6));
    EXPECT_TRUE(stage.passes(a4, b4, net::icmp));
    EXPECT_TRUE(stage.passes(a6, b6, net::icmpv6));
    EXPECT_FALSE(stage.passes(c4, b4, net::icmp));
    EXPECT_FALSE(stage.passes(c6, b6, net::icmpv6));
  }));
}

// the stranger has nobody at port 53 and says so.
TEST(Icmp, X_05_PortUnreachableReachesTheSenderOfAnAllowedFlow) {
  EXPECT_TRUE(in_new_netns([] {
    Stage stage(a_may_ask());
    stage.topology().enter(at_outside);
    Rtnl().add_address("eth0", ip(stranger6), 128);  // IPv6 errors bear an interface's address
    stage.topology().back_to_node();
    for (const auto& [source, destination] : {std::pair{a4, stranger4}, std::pair{a6, stranger6}}) {
      UdpSocket socket(stage.topology(), at_a, {ip(source), net::Port{0}});
      socket.connect({ip(destination), net::Port{dns}});
      int error = 0;
      for (int tries = 0; tries < 3 && error == 0; ++tries) {  // the kernel uses a new IPv6 address a little later
        socket.send("?");
        error = socket.wait_for_error();
      }
      EXPECT_EQ(error, ECONNREFUSED) << source;
    }
  }));
}

/// "Fragmentation needed", from a router in between, about a packet of the flow.
Bytes packet_too_big(const net::IpAddr& router, const net::Flow& about, net::Port source_port) {
  PacketSpec inner;
  inner.flow = about;
  inner.source_port = source_port;
  const auto quoted = packet_of(inner);
  const bool v4 = router.family() == net::Family::ipv4;
  PacketSpec spec;
  spec.flow = {router, about.source, v4 ? net::icmp : net::icmpv6, {}};
  spec.icmp_type = v4 ? 3 : 2;
  spec.icmp_code = v4 ? 4 : 0;
  spec.id = 1300U << 16U;  // the next hop's MTU: the last two bytes of the second word
  spec.body = quoted;
  return packet_of(spec);
}

// path MTU discovery works for an allowed flow, and an error about a flow that never was does not pass.
TEST(Icmp, X_05_PacketTooBigReachesTheSenderOfAnAllowedFlowOnly) {
  EXPECT_TRUE(in_new_netns([] {
    Stage stage(a_may_ask());
    UdpSocket answering(stage.topology(), at_outside, {ip(stranger4), net::Port{dns}});
    UdpSocket socket(stage.topology(), at_a, {ip(a4), net::Port{0}});
    socket.discover_mtu();
    socket.connect({ip(stranger4), net::Port{dns}});
    socket.send("?");
    ASSERT_EQ(answering.receive(), "?");
    const auto about = flow(a4, stranger4, net::udp, dns);
    ASSERT_TRUE(stage.prober().send(at_outside, packet_too_big(ip("198.51.100.1"), about, socket.port())));
    EXPECT_EQ(socket.wait_for_error(), EMSGSIZE);

    RawListener listener(stage.topology(), at_a, net::Family::ipv4, net::icmp);
    ASSERT_TRUE(stage.prober().send(at_outside, packet_too_big(ip("198.51.100.1"), about, net::Port{9})));
    EXPECT_FALSE(listener.hears());
    ASSERT_TRUE(stage.prober().send(at_outside, packet_too_big(ip("198.51.100.1"), about, socket.port())));
    EXPECT_TRUE(listener.hears(patient));
  }));
}

void forget_neighbours(const Stage& stage) {
  for (const Place place : {at_a, at_b}) {
    stage.topology().enter(place);
    const auto other4 = place == at_a ? b4 : a4;
    const auto other6 = place == at_a ? b6 : a6;
    Rtnl inside;
    inside.remove_neighbour("eth0", ip(other4));
    inside.remove_neighbour("eth0", ip(other6));
  }
  stage.topology().back_to_node();
}

// on a bridge whose packets pass the inet hooks, pods find each other under rules that admit one port.
TEST(Icmp, X_07_X_09_NeighboursAreFoundUnderDenyAll) {
  EXPECT_TRUE(in_new_netns([] {
    Stage stage({policy("in").selects({{"app", "b"}}).deny_egress().ingress(rule().pods({{"app", "a"}}).port(80)),
                 policy("out").selects({{"app", "a"}}).deny_ingress().egress(rule().pods({{"app", "b"}}).port(80))},
                Attachment::bridged);
    forget_neighbours(stage);
    for (const auto& [source, destination] : {std::pair{a4, b4}, std::pair{a6, b6}}) {
      auto probe = Stage::probe_of(source, destination, net::tcp, 80);
      probe.expected = true;
      EXPECT_EQ(stage.send(probe).arrived, at_b) << source;
      EXPECT_FALSE(stage.passes(source, destination, net::tcp, 81)) << source;
      EXPECT_FALSE(stage.passes(source, destination, source == a4 ? net::icmp : net::icmpv6)) << source;
    }
  }));
}

// the other four types too: router solicitation and advertisement, neighbour advertisement, redirect.
TEST(Icmp, X_07_EveryDiscoveryMessagePasses) {
  EXPECT_TRUE(in_new_netns([] {
    Stage stage({deny_all("deny", {})}, Attachment::bridged);
    RawListener listener(stage.topology(), at_b, net::Family::ipv6, net::icmpv6);
    for (const int type : {133, 134, 135, 136, 137, 128, 138, 143}) {
      PacketSpec spec;
      spec.flow = flow(a6, b6, net::icmpv6);
      spec.icmp_type = static_cast<std::uint8_t>(type);
      spec.hop_limit = 255;
      spec.payload = 32;
      ASSERT_TRUE(stage.prober().send(at_a, packet_of(spec)));
      const bool passes = type >= 133 && type <= 137;
      EXPECT_EQ(listener.hears(wait_for(passes)), passes) << type;
    }
  }));
}

// multicast from an isolated pod, where a bridge floods it.
TEST(Icmp, X_11_MulticastOfAnIsolatedPodNeedsARuleForAnyPeer) {
  EXPECT_TRUE(in_new_netns([] {
    Stage stage({}, Attachment::bridged);
    RawListener listener(stage.topology(), at_b, net::Family::ipv4, net::udp);
    listener.join(ip("224.0.0.251"), ip(b4));
    PacketSpec spec;
    spec.flow = flow(a4, "224.0.0.251", net::udp, 5353);
    const auto arrives = [&](bool expected) {
      spec.source_port = net::Port{static_cast<std::uint16_t>(spec.source_port.number + 5000)};
      EXPECT_TRUE(stage.prober().send(at_a, packet_of(spec)));
      return listener.hears(wait_for(expected));
    };
    EXPECT_TRUE(arrives(true));
    stage.apply({deny_all("p", {{"app", "a"}})});
    EXPECT_FALSE(arrives(false));
    stage.apply({policy("p").selects({{"app", "a"}}).egress(rule().pods({{"app", "b"}}))});
    EXPECT_FALSE(arrives(false));
    stage.apply({policy("p").selects({{"app", "a"}}).egress(rule().block("224.0.0.0/4"))});
    EXPECT_TRUE(arrives(true));
    stage.apply({policy("p").selects({{"app", "a"}}).egress(rule())});
    EXPECT_TRUE(arrives(true));
  }));
}

}  // namespace
}  // namespace podfence::test
