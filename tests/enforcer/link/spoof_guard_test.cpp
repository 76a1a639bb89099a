// The source guard with real packets. N-08: a forged source, the node's included, does not get past the pod's own
// interface.
#include "enforcer/link/spoof_guard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/socket.h>

#include <algorithm>

#include "tests/netns/prober.h"
#include "tests/netns/sockets.h"
#include "tests/netns/topology.h"
#include "tests/support/netns.h"

namespace podfence::link {
namespace {

using namespace net::literals;
using test::at_first_pod;
using test::at_node;
using test::at_outside;
using test::Attachment;
using test::in_new_netns;
using test::Place;
using test::Probe;
using test::Prober;
using test::run;
using test::Topology;
using test::TopologySpec;

constexpr Place at_a = at_first_pod;
constexpr Place at_b = at_first_pod + 1;

struct Scene {
  explicit Scene(Attachment attachment)
      : topology(spec(attachment)), prober(topology), guard(*SpoofGuard::open(program::Options{})) {}

  static TopologySpec spec(Attachment attachment) {
    TopologySpec spec{{"192.0.2.1"_ip, "fd00:c0::1"_ip},
                      {{"10.0.1.1"_ip, "fd00:1::1"_ip}, {"10.0.1.2"_ip, "fd00:1::2"_ip}}};
    spec.attachment = attachment;
    return spec;
  }

  static GuardedDevice device(const char* name, std::vector<net::IpAddr> addresses) {
    return {if_nametoindex(name), std::move(addresses)};
  }
  static std::map<std::string, GuardedDevice> both() {
    return {{"veth0", device("veth0", {"10.0.1.1"_ip, "fd00:1::1"_ip})},
            {"veth1", device("veth1", {"10.0.1.2"_ip, "fd00:1::2"_ip})}};
  }
  void set(const std::map<std::string, GuardedDevice>& devices) {
    const auto missing = guard.set(devices);
    ASSERT_TRUE(missing) << missing.error().what();
    EXPECT_THAT(*missing, testing::IsEmpty());
  }

  bool arrives(Place from, const net::IpAddr& source, const net::IpAddr& destination, bool expected,
               net::Protocol protocol = net::udp) {
    Probe probe;
    probe.flow = {source, destination, protocol, net::Port{80}};
    probe.from = from;
    probe.expected = expected;
    return prober.run(probe).arrived.has_value();
  }
  std::uint64_t spoofed() { return guard.counters().value().at("spoofed"); }

  Topology topology;
  Prober prober;
  SpoofGuard guard;
};

class OnEachAttachment : public testing::TestWithParam<Attachment> {};

INSTANTIATE_TEST_SUITE_P(SpoofGuard, OnEachAttachment, testing::Values(Attachment::routed, Attachment::bridged),
                         [](const auto& one) { return one.param == Attachment::routed ? "Routed" : "Bridged"; });

TEST_P(OnEachAttachment, N_08_OnlyAPodsOwnAddressesLeaveIt) {
  EXPECT_TRUE(in_new_netns([] {
    Scene scene(GetParam());
    EXPECT_TRUE(scene.arrives(at_a, "10.0.1.9"_ip, "10.0.1.2"_ip, true)) << "without the guard";
    scene.set(Scene::both());
    // Own addresses, to another pod, to the node, and out.
    for (const auto& to : {"10.0.1.2"_ip, "192.0.2.1"_ip, "203.0.113.7"_ip}) {
      EXPECT_TRUE(scene.arrives(at_a, "10.0.1.1"_ip, to, true)) << to.text();
    }
    for (const auto& to : {"fd00:1::2"_ip, "fd00:c0::1"_ip, "2001:db8::7"_ip}) {
      EXPECT_TRUE(scene.arrives(at_a, "fd00:1::1"_ip, to, true)) << to.text();
    }
    EXPECT_EQ(scene.spoofed(), 0U);
    // Another pod's, the node's, another node's, a stranger's, nobody's.
    std::uint64_t sent = 0;
    for (const auto& from : {"10.0.1.2"_ip, "10.0.1.9"_ip, "192.0.2.1"_ip, "192.0.2.2"_ip, "203.0.113.7"_ip}) {
      EXPECT_FALSE(scene.arrives(at_a, from, "10.0.1.2"_ip, false)) << from.text();
      EXPECT_FALSE(scene.arrives(at_a, from, "203.0.113.9"_ip, false, net::tcp)) << from.text();
      EXPECT_FALSE(scene.arrives(at_a, from, "192.0.2.1"_ip, false, net::icmp)) << from.text();
      sent += 3;
    }
    for (const auto& from : {"fd00:1::2"_ip, "fd00:c0::1"_ip, "2001:db8::7"_ip}) {
      EXPECT_FALSE(scene.arrives(at_a, from, "fd00:1::2"_ip, false)) << from.text();
      EXPECT_FALSE(scene.arrives(at_a, from, "2001:db8::9"_ip, false, net::icmpv6)) << from.text();
      sent += 2;
    }
    // Its own address from elsewhere is another device's affair; here, b's guard.
    EXPECT_FALSE(scene.arrives(at_b, "10.0.1.1"_ip, "203.0.113.7"_ip, false));
    EXPECT_EQ(scene.spoofed(), sent + 1);
    // What comes to the pod is not looked at.
    EXPECT_TRUE(scene.arrives(at_outside, "203.0.113.7"_ip, "10.0.1.1"_ip, true));
  }));
}

// neighbour discovery works from link-local addresses, and nothing else does.
TEST_P(OnEachAttachment, LinkLocalAddressesMaySpeakIcmpv6Only) {
  EXPECT_TRUE(in_new_netns([] {
    Scene scene(GetParam());
    scene.set(Scene::both());
    scene.topology.enter(at_a);
    const auto own = run("ip -6 -o addr show dev eth0 scope link | awk '{print $4}' | cut -d/ -f1").output;
    scene.topology.back_to_node();
    const auto link_local = net::IpAddr::parse(own.substr(0, own.size() - 1));
    ASSERT_TRUE(link_local) << own;
    // The node's end, which answers for fe80::1. Neighbours are found again from nothing.
    scene.topology.enter(at_a);
    EXPECT_EQ(run("ip -6 neigh flush all; ip -6 neigh del fe80::1 dev eth0; ping -6 -c 1 -W 3 fe80::1%eth0 >/dev/null")
                  .status,
              0);
    EXPECT_NE(run("ping -6 -c 1 -W 1 -I fd00:1::1 fd00:c0::1 >/dev/null; ip -6 neigh show fe80::1").output, "");
    scene.topology.back_to_node();
    EXPECT_EQ(scene.spoofed(), 0U);
    EXPECT_FALSE(scene.arrives(at_a, *link_local, "fd00:c0::1"_ip, false));
    EXPECT_EQ(scene.spoofed(), 1U);
  }));
}

/// Sends an ARP request as a pod would, with any sender.
void send_arp(const Topology& topology, const net::IpAddr& sender, const net::IpAddr& target) {
  const test::Socket socket(topology, at_a, AF_PACKET, SOCK_RAW, 0);
  topology.enter(at_a);
  sockaddr_ll to{};
  to.sll_family = AF_PACKET;
  to.sll_ifindex = static_cast<int>(if_nametoindex("eth0"));
  topology.back_to_node();
  const auto frame = test::arp_request({Topology::inner_mac(at_a), sender, target});
  const auto* address = static_cast<const sockaddr*>(static_cast<const void*>(&to));
  EXPECT_GT(::sendto(socket.fd(), frame.data(), frame.size(), 0, address, sizeof(to)), 0);
}

// a pod asks by ARP for others, and probes for itself; it may not claim another's address.
TEST_P(OnEachAttachment, X_09_ArpIsForOwnAddresses) {
  EXPECT_TRUE(in_new_netns([] {
    Scene scene(GetParam());
    scene.set(Scene::both());
    test::FrameListener answers(scene.topology, at_a, ETH_P_ARP);
    const auto gateway = "169.254.1.1"_ip;
    send_arp(scene.topology, "10.0.1.1"_ip, gateway);
    EXPECT_TRUE(answers.hears(test::patient));
    send_arp(scene.topology, "0.0.0.0"_ip, gateway);
    EXPECT_TRUE(answers.hears(test::patient));
    EXPECT_EQ(scene.spoofed(), 0U);
    send_arp(scene.topology, "10.0.1.2"_ip, gateway);
    EXPECT_FALSE(answers.hears());
    EXPECT_EQ(scene.spoofed(), 1U);
  }));
}

TEST_P(OnEachAttachment, FollowsThePodsAndOpensNoOther) {
  EXPECT_TRUE(in_new_netns([] {
    Scene scene(GetParam());
    const auto both = Scene::both();
    scene.set({{"veth0", both.at("veth0")}});
    EXPECT_FALSE(scene.arrives(at_a, "10.0.1.9"_ip, "10.0.1.2"_ip, false));
    EXPECT_TRUE(scene.arrives(at_b, "10.0.1.9"_ip, "10.0.1.1"_ip, true)) << "not guarded yet";
    scene.set(both);
    EXPECT_FALSE(scene.arrives(at_a, "10.0.1.9"_ip, "10.0.1.2"_ip, false));
    EXPECT_FALSE(scene.arrives(at_b, "10.0.1.9"_ip, "10.0.1.1"_ip, false));
    // An address more.
    auto changed = both;
    changed.at("veth0").addresses.push_back("10.0.1.9"_ip);
    scene.set(changed);
    EXPECT_TRUE(scene.arrives(at_a, "10.0.1.9"_ip, "10.0.1.2"_ip, true));
    EXPECT_FALSE(scene.arrives(at_b, "10.0.1.9"_ip, "10.0.1.1"_ip, false));
    EXPECT_EQ(scene.spoofed(), 4U) << "the counter goes on";
    scene.set({{"veth1", both.at("veth1")}});
    EXPECT_TRUE(scene.arrives(at_a, "10.0.1.8"_ip, "10.0.1.2"_ip, true));
    EXPECT_FALSE(scene.arrives(at_b, "10.0.1.9"_ip, "10.0.1.1"_ip, false));
    scene.set({});
    EXPECT_TRUE(scene.arrives(at_b, "10.0.1.9"_ip, "10.0.1.1"_ip, true));
  }));
}

// A pod more touches no rule of the others; one that another took an element from is mended as a whole.
TEST(SpoofGuard, WritesOnlyWhatChanged) {
  EXPECT_TRUE(in_new_netns([] {
    Scene scene(Attachment::routed);
    const auto both = Scene::both();
    scene.set({{"veth0", both.at("veth0")}});
    const auto chain = run("nft -a list chain netdev podfence dev_veth0").output;
    scene.set(both);
    EXPECT_EQ(run("nft -a list chain netdev podfence dev_veth0").output, chain);
    ASSERT_EQ(run("nft delete element netdev podfence own4 '{ \"veth1\" . 10.0.1.2 }'").output, "");
    scene.set({{"veth0", both.at("veth0")}});
    scene.set(both);
    EXPECT_TRUE(scene.arrives(at_b, "10.0.1.2"_ip, "203.0.113.7"_ip, true));
    EXPECT_FALSE(scene.arrives(at_b, "10.0.1.9"_ip, "10.0.1.1"_ip, false));
    EXPECT_FALSE(scene.arrives(at_a, "10.0.1.9"_ip, "10.0.1.2"_ip, false));
  }));
}

TEST(SpoofGuard, R_06_R_07_OutlivesItsAgentAndIsTakenOver) {
  EXPECT_TRUE(in_new_netns([] {
    Scene scene(Attachment::routed);
    scene.set(Scene::both());
    scene.guard = *SpoofGuard::open(program::Options{});
    EXPECT_FALSE(scene.arrives(at_a, "10.0.1.9"_ip, "10.0.1.2"_ip, false));
    scene.set({{"veth0", Scene::both().at("veth0")}});
    EXPECT_FALSE(scene.arrives(at_a, "10.0.1.9"_ip, "10.0.1.2"_ip, false));
    EXPECT_TRUE(scene.arrives(at_b, "10.0.1.9"_ip, "10.0.1.1"_ip, true)) << "a chain of before is removed";
    EXPECT_EQ(scene.spoofed(), 2U);
  }));
}

// what others took away comes back with the next look, a missing rule as well as a missing table.
TEST(SpoofGuard, R_15_MendsWhatOthersDid) {
  EXPECT_TRUE(in_new_netns([] {
    Scene scene(Attachment::routed);
    for (const char* damage :
         {"flush ruleset", "flush chain netdev podfence guard", "flush chain netdev podfence dev_veth0",
          "delete chain netdev podfence dev_veth0", "flush chain netdev podfence spoofed"}) {
      scene.set(Scene::both());
      ASSERT_EQ(run(std::string("nft '") + damage + "'").output, "");
      scene.set(Scene::both());
      EXPECT_FALSE(scene.arrives(at_a, "10.0.1.9"_ip, "10.0.1.2"_ip, false)) << damage;
      EXPECT_TRUE(scene.arrives(at_a, "10.0.1.1"_ip, "203.0.113.7"_ip, true)) << damage;
    }
  }));
}

TEST(SpoofGuard, D_24_WritesNothingWhenNothingChanged) {
  EXPECT_TRUE(in_new_netns([] {
    Scene scene(Attachment::routed);
    scene.set(Scene::both());
    const auto handles = run("nft -a list table netdev podfence").output;
    scene.set(Scene::both());
    EXPECT_EQ(run("nft -a list table netdev podfence").output, handles) << "new rules have new handles";
    auto turned = Scene::both();
    for (auto& [name, device] : turned) std::reverse(device.addresses.begin(), device.addresses.end());
    scene.set(turned);
    EXPECT_EQ(run("nft -a list table netdev podfence").output, handles);
  }));
}

// A device of the same name is another device: nothing leaves it until its addresses are looked up again.
TEST(SpoofGuard, ADeviceThatWasReplacedIsClosedUntilLookedUp) {
  EXPECT_TRUE(in_new_netns([] {
    Scene scene(Attachment::routed);
    scene.set(Scene::both());
    const auto old = Scene::both();
    test::Rtnl node;
    node.remove_link("veth0");
    node.add_veth({"veth0", Topology::host_mac(at_a), 900}, {"eth0", Topology::inner_mac(at_a), 0},
                  scene.topology.space(at_a).fd());
    node.set_up("veth0");
    node.add_address("veth0", Topology::gateway(net::Family::ipv6), 64);
    scene.topology.enter(at_a);
    test::Rtnl inside;
    inside.set_up("eth0");
    inside.add_address("eth0", "fd00:1::1"_ip, 128);
    inside.add_neighbour("eth0", Topology::gateway(net::Family::ipv6), Topology::host_mac(at_a));
    inside.add_route({test::everything_of(net::Family::ipv6), "eth0", Topology::gateway(net::Family::ipv6), {}});
    inside.wait_for_carrier("eth0");
    scene.topology.back_to_node();
    node.wait_for_carrier("veth0");
    const auto missing = scene.guard.set(old);  // by its old index
    ASSERT_TRUE(missing) << missing.error().what();
    EXPECT_THAT(*missing, testing::ElementsAre("veth0"));
    scene.set(Scene::both());
    EXPECT_TRUE(scene.arrives(at_a, "fd00:1::1"_ip, "2001:db8::7"_ip, true));
    EXPECT_FALSE(scene.arrives(at_a, "fd00:1::9"_ip, "2001:db8::7"_ip, false));
  }));
}

// The kernel takes a chain on a device that does not exist without a word.
TEST(SpoofGuard, NamesTheDevicesThatAreNotThere) {
  EXPECT_TRUE(in_new_netns([] {
    Scene scene(Attachment::routed);
    auto devices = Scene::both();
    devices["nothere"] = {77, {"10.0.1.7"_ip}};
    devices.at("veth1").index = 4711;
    const auto missing = scene.guard.set(devices);
    ASSERT_TRUE(missing) << missing.error().what();
    EXPECT_THAT(*missing, testing::UnorderedElementsAre("nothere", "veth1"));
    EXPECT_FALSE(scene.arrives(at_a, "10.0.1.9"_ip, "10.0.1.2"_ip, false));
  }));
}

TEST(SpoofGuard, IsListedByNftAndLoadsAgain) {
  EXPECT_TRUE(in_new_netns([] {
    Scene scene(Attachment::routed);
    scene.set(Scene::both());
    const auto text = run("nft list table netdev podfence").output;
    for (const char* part :
         {"iif . ip saddr @own4 accept", "iif . ip6 saddr @own6 accept", "iif . arp saddr ip @own4 accept",
          "arp saddr ip 0.0.0.0 accept", "device \"veth0\" priority -200", "counter name \"spoofed\"",
          "log prefix \"pf1:spoof\" group 4021 snaplen 128", "\"veth0\" . 10.0.1.1", "\"veth1\" . fd00:1::2"}) {
      EXPECT_THAT(text, testing::HasSubstr(part));
    }
    ASSERT_EQ(run("nft flush ruleset").output, "");
    EXPECT_TRUE(scene.arrives(at_a, "10.0.1.9"_ip, "10.0.1.2"_ip, true));
    ASSERT_EQ(test::run_with_input("nft -f -", text).output, "");
    EXPECT_FALSE(scene.arrives(at_a, "10.0.1.9"_ip, "10.0.1.2"_ip, false));
    EXPECT_TRUE(scene.arrives(at_a, "10.0.1.1"_ip, "203.0.113.7"_ip, true));
  }));
}

TEST(SpoofGuard, PurgeLeavesNothing) {
  EXPECT_TRUE(in_new_netns([] {
    Scene scene(Attachment::routed);
    EXPECT_TRUE(scene.guard.purge()) << "nothing to delete is fine";
    scene.set(Scene::both());
    const auto gone = scene.guard.purge();
    EXPECT_TRUE(gone) << gone.error().what();
    EXPECT_EQ(run("nft list ruleset").output, "");
    EXPECT_TRUE(scene.arrives(at_a, "10.0.1.9"_ip, "10.0.1.2"_ip, true));
    scene.set(Scene::both());
    EXPECT_FALSE(scene.arrives(at_a, "10.0.1.9"_ip, "10.0.1.2"_ip, false));
  }));
}

}  // namespace
}  // namespace podfence::link
