// Services as kube-proxy makes them: DNAT in a table that is not ours. The verdict is on the endpoint.
#include <gtest/gtest.h>

#include "tests/netns/sockets.h"
#include "tests/netns/stage.h"
#include "tests/support/netns.h"

namespace podfence::test {
namespace {

constexpr std::string_view vip4 = "10.96.0.10";
constexpr std::string_view vip6 = "fd00:96::10";

/// Service port 80 is a target port of the endpoint; a pod's own service comes back masqueraded.
void add_service(std::string_view endpoint4, std::string_view endpoint6, std::uint16_t target) {
  const auto port = std::to_string(target);
  std::string text = "table ip nat {\nchain pre {\ntype nat hook prerouting priority dstnat\nip daddr ";
  text += std::string(vip4) + " tcp dport 80 dnat to " + std::string(endpoint4) + ":" + port + "\n}\n";
  text += "chain post {\ntype nat hook postrouting priority srcnat\n";
  text += "ip saddr " + std::string(a4) + " ip daddr " + std::string(a4) + " masquerade\n}\n}\n";
  text += "table ip6 nat {\nchain pre {\ntype nat hook prerouting priority dstnat\nip6 daddr ";
  text += std::string(vip6) + " tcp dport 80 dnat to [" + std::string(endpoint6) + "]:" + port + "\n}\n";
  text += "chain post {\ntype nat hook postrouting priority srcnat\n";
  text += "ip6 saddr " + std::string(a6) + " ip6 daddr " + std::string(a6) + " masquerade\n}\n}\n";
  add_foreign_rules(text);
}

bool reaches(Stage& stage, std::string_view source, std::string_view vip, Place endpoint, std::uint16_t target) {
  auto probe = Stage::probe_of(source, vip, net::tcp, 80);
  probe.expected = true;  // so that it waits for long: on a busy machine an answer takes its time
  const auto outcome = stage.send(probe);
  // S-14: the answer finds its way back, translated.
  EXPECT_EQ(outcome.answered, outcome.arrived.has_value()) << source << " -> " << vip;
  return outcome.arrived == endpoint && outcome.port == net::Port{target};
}

class Service : public testing::TestWithParam<Attachment> {};

INSTANTIATE_TEST_SUITE_P(Attachments, Service, testing::Values(Attachment::routed, Attachment::bridged),
                         [](const auto& one) { return one.param == Attachment::routed ? "Routed" : "Bridged"; });

// S-01, S-02, S-04, S-14: egress and ingress name the pod and its target port; the service's own address and port are
// nowhere in the policies.
TEST_P(Service, S_01_S_02_S_04_S_14_TheVerdictIsOnTheEndpoint) {
  EXPECT_TRUE(in_new_netns([] {
    Stage stage({policy("out").selects({{"app", "a"}}).egress(rule().pods({{"app", "b"}}).port(8080)),
                 policy("in").selects({{"app", "b"}}).ingress(rule().pods({{"app", "a"}}).port(8080))},
                GetParam());
    add_service(b4, b6, 8080);
    EXPECT_TRUE(reaches(stage, a4, vip4, at_b, 8080));
    EXPECT_TRUE(reaches(stage, a6, vip6, at_b, 8080));
    EXPECT_FALSE(reaches(stage, stranger4, vip4, at_b, 8080));
    EXPECT_FALSE(stage.passes(a4, b4, net::tcp, 80));
  }));
}

// S-04, S-03: a rule for the service's port does not open the target port, and a denied pod stays denied behind a VIP.
TEST_P(Service, S_03_S_04_TheServicePortOpensNothing) {
  EXPECT_TRUE(in_new_netns([] {
    Stage stage({policy("in").selects({{"app", "b"}}).ingress(rule().pods({{"app", "a"}}).port(80))}, GetParam());
    add_service(b4, b6, 8080);
    EXPECT_FALSE(reaches(stage, a4, vip4, at_b, 8080));
    EXPECT_FALSE(reaches(stage, a6, vip6, at_b, 8080));
  }));
}

// S-06: an ipBlock that names the service's address has no effect.
TEST_P(Service, S_06_ABlockOfTheServiceAddressOpensNothing) {
  EXPECT_TRUE(in_new_netns([] {
    Stage stage({policy("out").selects({{"app", "a"}}).egress(rule().block("10.96.0.10/32").block("fd00:96::10/128"))},
                GetParam());
    add_service(b4, b6, 8080);
    EXPECT_FALSE(reaches(stage, a4, vip4, at_b, 8080));
    EXPECT_FALSE(reaches(stage, a6, vip6, at_b, 8080));
  }));
}

// S-11, S-12: its own service leads a pod back to itself, whatever the policies say; another endpoint is another pod.
TEST_P(Service, S_11_S_12_OnlyThePodItselfIsExempt) {
  EXPECT_TRUE(in_new_netns([] {
    Stage stage({deny_all("deny", {})}, GetParam());
    add_service(a4, a6, 8080);
    EXPECT_TRUE(reaches(stage, a4, vip4, at_a, 8080));
    EXPECT_TRUE(reaches(stage, a6, vip6, at_a, 8080));
    EXPECT_FALSE(reaches(stage, b4, vip4, at_a, 8080));
    EXPECT_FALSE(reaches(stage, b6, vip6, at_a, 8080));
  }));
}

// S-14, I-16: a whole connection through the service, while neither pod has a rule for the way back.
TEST_P(Service, S_14_I_16_AConnectionThroughTheServiceCarries) {
  EXPECT_TRUE(in_new_netns([] {
    Stage stage({policy("out").selects({{"app", "a"}}).deny_ingress().egress(rule().pods({{"app", "b"}}).port(8080)),
                 policy("in").selects({{"app", "b"}}).deny_egress().ingress(rule().pods({{"app", "a"}}).port(8080))},
                GetParam());
    add_service(b4, b6, 8080);
    auto pair = TcpPair::open(stage.topology(), at_a, ip(a4), at_b, {ip(b4), net::Port{8080}},
                              Endpoint{ip(vip4), net::Port{80}});
    ASSERT_TRUE(pair);
    EXPECT_TRUE(pair->carries());
    EXPECT_TRUE(pair->carries_back());
  }));
}

}  // namespace
}  // namespace podfence::test
