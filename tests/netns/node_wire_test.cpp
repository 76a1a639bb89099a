// The node itself, and both ends of a flow on one node.
#include <gtest/gtest.h>

#include "tests/netns/stage.h"
#include "tests/support/netns.h"

namespace podfence::test {
namespace {

class OnBothAttachments : public testing::TestWithParam<Attachment> {};

INSTANTIATE_TEST_SUITE_P(Node, OnBothAttachments, testing::Values(Attachment::routed, Attachment::bridged),
                         [](const auto& one) { return one.param == Attachment::routed ? "Routed" : "Bridged"; });

// N-01, N-02, N-03: kubelet's probes reach a pod that nobody may reach, by every address, and the pod reaches the node.
TEST_P(OnBothAttachments, N_01_N_02_N_03_TheNodeAndItsPodsReachEachOtherUnderDenyAll) {
  EXPECT_TRUE(in_new_netns([] {
    Stage stage({deny_all("deny", {})}, GetParam());
    for (const auto& [node, pod] : {std::pair{n1_4, a4}, std::pair{n1_6, a6}, std::pair{n1_4, b4}}) {
      for (const auto protocol : {net::tcp, net::udp, net::sctp, node == n1_6 ? net::icmpv6 : net::icmp}) {
        const std::uint16_t port = net::has_ports(protocol) ? 10250 : 0;
        EXPECT_TRUE(stage.passes(node, pod, protocol, port)) << node << " " << net::text_of(protocol);
        EXPECT_TRUE(stage.passes(pod, node, protocol, port)) << pod << " " << net::text_of(protocol);
      }
    }
    EXPECT_FALSE(stage.passes(a4, b4, net::tcp, 80));
  }));
}

// N-04: another node is a stranger. N-08: nor does a forged source make a stranger of the own node: the kernel itself
// refuses packets from outside that bear the node's own address.
TEST_P(OnBothAttachments, N_04_N_08_OnlyWhatTheNodeSendsItselfIsTheNodes) {
  EXPECT_TRUE(in_new_netns([] {
    Stage stage({deny_all("deny", {})}, GetParam());
    EXPECT_FALSE(stage.passes(n2_4, a4, net::tcp, 80));
    EXPECT_FALSE(stage.passes(n2_6, a6, net::tcp, 80));
    for (const Place from : {at_outside, at_b}) {
      auto probe = Stage::probe_of(n1_4, a4, net::udp, 80);
      probe.from = from;
      EXPECT_FALSE(stage.send(probe).arrived) << from;
      probe = Stage::probe_of(n1_6, a6, net::udp, 80);
      probe.from = from;
      EXPECT_FALSE(stage.send(probe).arrived) << from;
    }
  }));
}

// I-15: a packet from pod to pod of one node passes the hook once; both sides must have their say in it.
TEST_P(OnBothAttachments, I_15_BothSidesOfOneNodeAreJudged) {
  const auto out = policy("out").selects({{"app", "a"}}).egress(rule().pods({{"app", "b"}}).port(80).port(81));
  const auto in = policy("in").selects({{"app", "b"}}).ingress(rule().pods({{"app", "a"}}).port(80).port(82));
  EXPECT_TRUE(in_new_netns([&] {
    Stage stage({out, in}, GetParam());
    for (const auto& [source, destination] : {std::pair{a4, b4}, std::pair{a6, b6}}) {
      EXPECT_TRUE(stage.passes(source, destination, net::tcp, 80)) << source;
      EXPECT_FALSE(stage.passes(source, destination, net::tcp, 81)) << source;
      EXPECT_FALSE(stage.passes(source, destination, net::tcp, 82)) << source;
      EXPECT_FALSE(stage.passes(source, destination, net::tcp, 83)) << source;
    }
    // I-04: the other directions are open.
    EXPECT_TRUE(stage.passes(stranger4, a4, net::tcp, 83));
    EXPECT_TRUE(stage.passes(b4, stranger4, net::tcp, 83));
  }));
}

// A pod always reaches itself: such a packet never leaves its namespace (S-10).
TEST_P(OnBothAttachments, S_10_APodReachesItselfUnderDenyAll) {
  EXPECT_TRUE(in_new_netns([] {
    Stage stage({deny_all("deny", {})}, GetParam());
    EXPECT_TRUE(stage.passes(a4, a4, net::tcp, 80));
    EXPECT_TRUE(stage.passes(a6, a6, net::tcp, 80));
  }));
}

// Fail closed: an address of the node's pod ranges that no known pod owns, as source and as destination.
TEST_P(OnBothAttachments, R_10_AnUnknownAddressOfThePodRangeIsClosed) {
  EXPECT_TRUE(in_new_netns([] {
    Stage stage({}, GetParam());
    EXPECT_TRUE(stage.passes(a4, b4, net::tcp, 80));
    auto probe = Stage::probe_of("10.0.1.77", b4, net::tcp, 80);
    probe.from = at_a;
    EXPECT_FALSE(stage.send(probe).arrived);
    probe = Stage::probe_of("fd00:1::77", b6, net::tcp, 80);
    probe.from = at_a;
    EXPECT_FALSE(stage.send(probe).arrived);
  }));
}

// What a bridge does not show to the inet hooks cannot be judged: the reason why CNI ADD turns the switch on.
TEST(Node, ABridgeThatDoesNotCallIptablesHidesItsPackets) {
  EXPECT_TRUE(in_new_netns([] {
    TopologySpec spec{{ip(n1_4)}, {{ip(a4)}, {ip(b4)}}};
    spec.attachment = Attachment::bridged;
    for (const bool calls : {true, false}) {
      const auto verdict = in_new_netns([&] {
        spec.bridge_calls_iptables = calls;
        const Topology topology(spec);
        Prober prober(topology);
        add_foreign_rules("table inet t {\n chain f {\n type filter hook forward priority 0; policy drop;\n }\n}\n");
        EXPECT_EQ(prober.run(Stage::probe_of(a4, b4, net::tcp, 80)).arrived.has_value(), !calls);
      });
      EXPECT_TRUE(verdict);
    }
  }));
}

// The printed text is the program: loaded by nft it decides the same.
TEST(Node, TheTextLoadedByNftDecidesTheSame) {
  EXPECT_TRUE(in_new_netns([] {
    Stage stage({policy("in").selects({{"app", "b"}}).ingress(rule().pods({{"app", "a"}}).port(80))});
    load(stage.program(), Loader::text);
    EXPECT_TRUE(stage.passes(a4, b4, net::tcp, 80));
    EXPECT_FALSE(stage.passes(a4, b4, net::tcp, 81));
    EXPECT_TRUE(stage.passes(a6, b6, net::tcp, 80));
    EXPECT_FALSE(stage.passes(c4, b4, net::tcp, 80));
  }));
}

}  // namespace
}  // namespace podfence::test
