// The host's end of real interfaces, the switch of real bridges, and the closure of a device: in network namespaces.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <fstream>

#include "cni/linux_host.h"
#include "tests/cni/agent_server.h"
#include "tests/cni/pod_netns.h"
#include "tests/support/netns.h"

namespace podfence::test {
namespace {

using cni::Code;
using ::testing::HasSubstr;

void write_sysctl(const std::string& name, const std::string& value) {
  std::ofstream file("/proc/sys/net/bridge/" + name);
  file << value << std::flush;
  EXPECT_TRUE(file.good()) << name;
}

void switch_all_bridges(const std::string& value) {
  write_sysctl("bridge-nf-call-iptables", value);
  write_sysctl("bridge-nf-call-ip6tables", value);
}

std::string netns_now() {
  struct stat info {};
  EXPECT_EQ(::stat("/proc/thread-self/ns/net", &info), 0);
  return std::to_string(info.st_ino);
}

void plug(const PodNetns& pod, const std::string& host_end) {
  run_here("ip link add " + host_end + " type veth peer name eth0 netns " + pod.pid() + " && ip link set " + host_end +
           " up");
  pod.run_inside("ip link set eth0 up");
}

// P20
TEST(FindVeth, P20_of_a_routed_pod_and_stays_where_it_was) {
  EXPECT_TRUE(in_new_netns([] {
    const PodNetns pod;
    run_here("ip link add filler0 type veth peer name filler1");  // so that numbers differ on both sides
    plug(pod, "veth7");
    const std::string before = netns_now();
    const auto veth = cni::LinuxHost().find_veth(pod.path(), "eth0", false);
    ASSERT_TRUE(veth) << veth.error().msg();
    EXPECT_EQ(*veth, (cni::Veth{"veth7", ::if_nametoindex("veth7"), "", 0}));
    EXPECT_EQ(netns_now(), before);
  }));
}

TEST(FindVeth, tells_two_pods_apart) {
  EXPECT_TRUE(in_new_netns([] {
    const PodNetns one;
    const PodNetns two;
    plug(one, "veth1");
    plug(two, "veth2");  // both eth0 may well have the same number
    EXPECT_EQ(cni::LinuxHost().find_veth(one.path(), "eth0", false)->name, "veth1");
    EXPECT_EQ(cni::LinuxHost().find_veth(two.path(), "eth0", false)->name, "veth2");
  }));
}

TEST(FindVeth, refuses_a_macvlan_whose_number_is_that_of_the_nodes_NIC) {
  EXPECT_TRUE(in_new_netns([] {
    const PodNetns pod;
    run_here("ip link add up0 type veth peer name up1 && ip link set up0 up");
    run_here("ip link add mv0 link up0 type macvlan mode bridge && ip link set mv0 netns " + pod.pid() + " name eth0");
    const auto veth = cni::LinuxHost().find_veth(pod.path(), "eth0", false);
    ASSERT_FALSE(veth);
    EXPECT_EQ(veth.error().code(), Code::invalid_config);
    EXPECT_THAT(veth.error().msg(), HasSubstr("kind macvlan"));
    EXPECT_THAT(veth.error().details(), HasSubstr("bridge or ptp"));
  }));
}

TEST(FindVeth, refuses_a_pair_whose_other_end_is_elsewhere) {
  EXPECT_TRUE(in_new_netns([] {
    const PodNetns pod;
    const PodNetns elsewhere;
    plug(pod, "veth1");
    run_here("ip link set veth1 netns " + elsewhere.pid());
    plug(elsewhere, "veth9");  // and here is a veth that could be taken for it
    const auto veth = cni::LinuxHost().find_veth(pod.path(), "eth0", false);
    ASSERT_FALSE(veth);
    EXPECT_EQ(veth.error().code(), Code::invalid_config);
    EXPECT_THAT(veth.error().msg(), HasSubstr("not in the runtime's network namespace"));
  }));
}

TEST(FindVeth, refuses_an_interface_that_is_not_there) {
  EXPECT_TRUE(in_new_netns([] {
    const PodNetns pod;
    for (const std::string name : {"eth0", "lo"}) {
      const auto veth = cni::LinuxHost().find_veth(pod.path(), name, false);
      ASSERT_FALSE(veth);
      EXPECT_EQ(veth.error().code(), Code::invalid_config);
    }
  }));
}

// A6
TEST(FindVeth, A06_what_is_no_network_namespace_is_code_8) {
  EXPECT_TRUE(in_new_netns([] {
    const TemporaryDirectory directory;
    ASSERT_EQ(::mkfifo((directory / "fifo").c_str(), 0600), 0);
    for (const std::string path : {directory / "gone", directory / "fifo", std::string("/dev/null"), std::string("/"),
                                   std::string("/proc/self/ns/mnt"), std::string()}) {
      const auto veth = cni::LinuxHost().find_veth(path, "eth0", false);
      ASSERT_FALSE(veth) << path;
      EXPECT_EQ(veth.error().code(), Code::invalid_netns) << path;
    }
  }));
}

// A7
TEST(FindVeth, A07_the_own_netns_is_code_8_unless_allowed) {
  EXPECT_TRUE(in_new_netns([] {
    run_here("ip link add veth1 type veth peer name eth0");
    const std::string own = "/proc/self/ns/net";
    const auto refused = cni::LinuxHost().find_veth(own, "eth0", false);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), Code::invalid_netns);
    const auto allowed = cni::LinuxHost().find_veth(own, "eth0", true);
    ASSERT_TRUE(allowed) << allowed.error().msg();
    EXPECT_EQ(allowed->name, "veth1");
  }));
}

cni::Veth bridged_pod(const PodNetns& pod) {
  run_here("ip link add cni0 type bridge && ip link set cni0 up");
  plug(pod, "veth1");
  run_here("ip link set veth1 master cni0");
  const auto veth = cni::LinuxHost().find_veth(pod.path(), "eth0", false);
  EXPECT_TRUE(veth);
  return veth ? *veth : cni::Veth{};
}

TEST(Bridge, gets_its_own_switch_and_CHECK_sees_it_go) {
  EXPECT_TRUE(in_new_netns([] {
    const PodNetns pod;
    switch_all_bridges("0");
    const cni::Veth veth = bridged_pod(pod);
    EXPECT_EQ(veth.bridge, "cni0");
    EXPECT_EQ(veth.bridge_index, ::if_nametoindex("cni0"));
    cni::LinuxHost host;
    EXPECT_EQ(host.check_bridge(veth).error().code(), Code::try_again);
    ASSERT_TRUE(host.filter_bridge(veth));
    const std::string shown = run_here("ip -d link show cni0");
    EXPECT_THAT(shown, HasSubstr("nf_call_iptables 1"));
    EXPECT_THAT(shown, HasSubstr("nf_call_ip6tables 1"));
    EXPECT_TRUE(host.filter_bridge(veth)) << "again";
    EXPECT_TRUE(host.check_bridge(veth));
    run_here("ip link set cni0 type bridge nf_call_ip6tables 0");
    EXPECT_THAT(host.check_bridge(veth).error().msg(), HasSubstr("nf_call_iptables of bridge cni0 off"));
    switch_all_bridges("1");
    EXPECT_TRUE(host.check_bridge(veth)) << "the switch for all does it too";
  }));
}

TEST(Bridge, without_br_netfilter_the_pod_is_refused_with_what_to_do) {
  EXPECT_TRUE(in_new_netns([] {
    const PodNetns pod;
    const cni::Veth veth = bridged_pod(pod);
    ASSERT_EQ(::unshare(CLONE_NEWNS), 0);
    ASSERT_EQ(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
    ASSERT_EQ(::mount("none", "/proc/sys/net/bridge", "tmpfs", 0, nullptr), 0);
    for (const auto& outcome : {cni::LinuxHost().filter_bridge(veth), cni::LinuxHost().check_bridge(veth)}) {
      ASSERT_FALSE(outcome);
      EXPECT_EQ(outcome.error().code(), Code::invalid_config);
      EXPECT_THAT(outcome.error().details(), HasSubstr("modprobe br_netfilter"));
    }
  }));
}

TEST(Bridge, a_pod_without_one_needs_nothing) {
  EXPECT_TRUE(in_new_netns([] {
    EXPECT_TRUE(cni::LinuxHost().filter_bridge({"veth1", 1, "", 0}));
    EXPECT_TRUE(cni::LinuxHost().check_bridge({"veth1", 1, "", 0}));
  }));
}

TEST(AgentTable, is_there_or_not) {
  EXPECT_TRUE(in_new_netns([] {
    EXPECT_EQ(cni::LinuxHost().rules_present(), false);
    run_here("nft add table ip podfence && nft add table inet podfence2");
    EXPECT_EQ(cni::LinuxHost().rules_present(), false);
    run_here("nft add table inet podfence");
    EXPECT_EQ(cni::LinuxHost().rules_present(), true);
  }));
}

bool pings(const std::string& address) {
  return run("ping -c 1 -W 1 " + address).status == 0;
}

TEST(Closure, drops_all_that_a_device_carries_until_it_is_lifted) {
  EXPECT_TRUE(in_new_netns([] {
    const PodNetns pod;
    const PodNetns other;
    plug(pod, "veth1");
    plug(other, "veth2");
    run_here("ip address add 10.0.1.1/24 dev veth1 && ip address add 10.0.2.1/24 dev veth2");
    pod.run_inside("ip address add 10.0.1.2/24 dev eth0");
    other.run_inside("ip address add 10.0.2.2/24 dev eth0");
    ASSERT_TRUE(pings("10.0.1.2"));
    cni::LinuxHost host;
    const auto closed = host.close_device("veth1");
    ASSERT_TRUE(closed) << closed.error().what();
    EXPECT_TRUE(host.close_device("veth1")) << "again";
    EXPECT_FALSE(pings("10.0.1.2"));
    EXPECT_TRUE(pings("10.0.2.2"));
    pod.run_inside("! ping -c 1 -W 1 10.0.1.1");
    const std::string rules = run_here("nft list table netdev podfence_deny");
    EXPECT_THAT(rules, HasSubstr("hook ingress device \"veth1\""));
    EXPECT_THAT(rules, HasSubstr("hook egress device \"veth1\""));
    const auto lifted = host.lift_closure("veth1");
    ASSERT_TRUE(lifted) << lifted.error().what();
    EXPECT_TRUE(host.lift_closure("veth1")) << "again";
    EXPECT_TRUE(pings("10.0.1.2"));
  }));
}

TEST(Closure, lifting_needs_no_table) {
  EXPECT_TRUE(in_new_netns([] { EXPECT_TRUE(cni::LinuxHost().lift_closure("veth1")); }));
}

}  // namespace
}  // namespace podfence::test
