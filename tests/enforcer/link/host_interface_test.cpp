// From a pod's address to the host's end of its interface, on real links.
#include "enforcer/link/host_interface.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <net/if.h>

#include "tests/netns/topology.h"
#include "tests/support/netns.h"

namespace podfence::link {
namespace {

using namespace net::literals;
using test::Attachment;
using test::in_new_netns;
using test::run;
using test::Topology;
using test::TopologySpec;

TopologySpec two_pods(Attachment attachment) {
  TopologySpec spec{{"192.0.2.1"_ip, "fd00:c0::1"_ip}, {{"10.0.1.1"_ip, "fd00:1::1"_ip}, {"10.0.1.2"_ip}}};
  spec.attachment = attachment;
  return spec;
}

std::vector<std::string> names_of(const std::vector<net::IpAddr>& addresses) {
  const auto found = find_host_interfaces(addresses);
  EXPECT_TRUE(found) << found.error().what();
  std::vector<std::string> names;
  for (const auto& interface : found.value_or(std::vector<HostInterface>{})) {
    EXPECT_EQ(interface.index, if_nametoindex(interface.name.c_str()));
    names.push_back(interface.address.text() + " " + interface.name);
  }
  return names;
}

TEST(HostInterface, IsWhereTheRouteToTheAddressGoes) {
  EXPECT_TRUE(in_new_netns([] {
    const Topology topology(two_pods(Attachment::routed));
    EXPECT_THAT(names_of({"10.0.1.2"_ip, "fd00:1::1"_ip, "10.0.1.1"_ip}),
                testing::ElementsAre("10.0.1.2 veth1", "fd00:1::1 veth0", "10.0.1.1 veth0"));
  }));
}

TEST(HostInterface, IsTheBridgePortBehindWhichTheNeighbourLives) {
  EXPECT_TRUE(in_new_netns([] {
    const Topology topology(two_pods(Attachment::bridged));
    // A bridge has one subnet, not a route for each pod.
    ASSERT_EQ(run("ip route del 10.0.1.1/32; ip route del 10.0.1.2/32; ip route add 10.0.1.0/24 dev br0;"
                  "ip -6 route del fd00:1::1/128; ip -6 route add fd00:1::/64 dev br0")
                  .output,
              "");
    EXPECT_THAT(names_of({"10.0.1.2"_ip, "fd00:1::1"_ip, "10.0.1.1"_ip}),
                testing::ElementsAre("10.0.1.2 veth1", "fd00:1::1 veth0", "10.0.1.1 veth0"));
    // A pod from which nothing has been heard yet.
    ASSERT_EQ(run("ip neigh del 10.0.1.2 dev br0").output, "");
    EXPECT_THAT(names_of({"10.0.1.2"_ip}), testing::IsEmpty());
  }));
}

TEST(HostInterface, IsNotFoundForOtherAddresses) {
  EXPECT_TRUE(in_new_netns([] {
    const Topology topology(two_pods(Attachment::routed));
    EXPECT_THAT(names_of({"192.0.2.1"_ip, "10.0.1.3"_ip, "203.0.113.7"_ip, "2001:db8::1"_ip}), testing::IsEmpty());
    EXPECT_THAT(names_of({}), testing::IsEmpty());
  }));
}

// A bridge, or a veth whose other end is the node's too, is no pod's. (So is the parent of a macvlan, which the pod's
// link index names.)
TEST(HostInterface, IsNeverADeviceOfAnotherKind) {
  EXPECT_TRUE(in_new_netns([] {
    ASSERT_EQ(run("ip link add nic type bridge; ip link set nic up; ip link add in0 type veth peer name in1;"
                  "ip link set in0 up; ip route add 10.0.1.1/32 dev nic; ip route add 10.0.1.3/32 dev in0")
                  .output,
              "");
    EXPECT_THAT(names_of({"10.0.1.1"_ip, "10.0.1.3"_ip}), testing::IsEmpty());
  }));
}

}  // namespace
}  // namespace podfence::link
