#include "policy/evaluate/evaluate.h"

#include <gtest/gtest.h>

#include "tests/support/builders.h"

namespace podfence::test {
namespace {

using evaluate::Reason;
using net::Direction;

constexpr const char* web = "10.0.1.1";
constexpr const char* cli = "10.0.1.2";
constexpr const char* far = "10.0.2.1";  // app=cli too, but on n2 and in namespace other
constexpr const char* outside = "203.0.113.9";
constexpr const char* host1 = "192.0.2.1";
constexpr const char* host2 = "192.0.2.2";

/// web and cli run on n1 in "default", far on n2 in "other"; `more` comes on top.
store::Cluster world(std::vector<api::Object> more = {}) {
  std::vector<api::Object> objects{
      ns("default"),
      ns("other").label("team", "b"),
      node("n1").ip(host1).pod_cidr("10.0.1.0/24"),
      node("n2").ip(host2).pod_cidr("10.0.2.0/24"),
      pod("web").label("app", "web").ip(web).port("http", 8080).port("http", 53, net::udp),
      pod("cli").label("app", "cli").ip(cli).port("http", 9090),
      pod("far").ns("other").node("n2").label("app", "cli").ip(far),
      pod("agent").host_network().label("app", "web").ip(host1),
  };
  objects.insert(objects.end(), more.begin(), more.end());
  return cluster_of(std::move(objects));
}

struct Row {
  std::string name;
  net::Flow flow;
  bool allowed;
  Reason reason;
  Direction direction = Direction::ingress;
};

void check(const store::Cluster& cluster, const std::vector<Row>& rows, const evaluate::Options& options = {}) {
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto verdict = evaluate::evaluate(cluster, row.flow, options);
    EXPECT_EQ(verdict.allowed, row.allowed);
    EXPECT_EQ(evaluate::name_of(verdict.reason), evaluate::name_of(row.reason));
    EXPECT_EQ(verdict.direction, row.direction);
  }
}

TEST(Evaluate, WithoutPolicyEverythingPasses) {  // I-01
  check(world(), {{"pod to pod", tcp_flow(cli, web, 80), true, Reason::not_isolated},
                  {"from outside", tcp_flow(outside, web, 80), true, Reason::not_isolated},
                  {"to outside", tcp_flow(web, outside, 80), true, Reason::not_isolated},
                  {"neither is a pod", tcp_flow(outside, "203.0.113.10", 80), true, Reason::no_pod}});
}

TEST(Evaluate, EachDirectionIsIsolatedByItself) {  // I-02 I-03 I-04
  const auto in = world({policy("p").selects({{"app", "web"}}).deny_ingress()});
  check(in, {{"in", tcp_flow(cli, web, 80), false, Reason::default_deny},
             {"out", tcp_flow(web, cli, 80), true, Reason::not_isolated}});
  const auto out = world({policy("p").selects({{"app", "web"}}).deny_egress()});
  check(out, {{"in", tcp_flow(cli, web, 80), true, Reason::not_isolated},
              {"out", tcp_flow(web, cli, 80), false, Reason::default_deny, Direction::egress}});
}

TEST(Evaluate, BothSidesMustAllow) {  // I-15 U-09
  const auto both = world({policy("in").selects({{"app", "web"}}).ingress(rule().pods({{"app", "cli"}})),
                           policy("out").selects({{"app", "cli"}}).egress(rule().port(80))});
  check(both, {{"both allow", tcp_flow(cli, web, 80), true, Reason::allowed_by_rule},
               {"only ingress allows", tcp_flow(cli, web, 81), false, Reason::default_deny, Direction::egress},
               {"only egress allows", tcp_flow(cli, far, 80), true, Reason::allowed_by_rule},
               {"ingress denies", tcp_flow(far, web, 80), false, Reason::default_deny}});
}

TEST(Evaluate, TheFirstSideThatDeniesIsReported) {
  const auto cluster = world({policy("a").deny_ingress().deny_egress()});
  const auto verdict = evaluate::evaluate(cluster, tcp_flow(cli, web, 80));
  EXPECT_FALSE(verdict.allowed);
  EXPECT_EQ(verdict.direction, Direction::egress);
  ASSERT_EQ(verdict.policies.size(), 1u);
  EXPECT_EQ(verdict.policies[0].direction, Direction::egress);
}

TEST(Evaluate, DenialNamesEveryPolicyThatIsolates) {
  const auto cluster =
      world({policy("b").ingress(rule().port(443)), policy("a").deny_ingress(),
             policy("c").selects({{"app", "cli"}}).deny_ingress(), policy("a").ns("other").deny_ingress()});
  const auto verdict = evaluate::evaluate(cluster, tcp_flow(cli, web, 80));
  const std::vector<evaluate::PolicyVerdict> expected{
      {"default", "a", Direction::ingress, evaluate::PolicyVerdict::npos},
      {"default", "b", Direction::ingress, evaluate::PolicyVerdict::npos}};
  EXPECT_EQ(verdict.policies, expected);
}

TEST(Evaluate, AllowanceNamesTheRulesThatAdmitOfEachSide) {
  const auto cluster = world({policy("in").selects({{"app", "web"}}).ingress(rule().port(443)).ingress(rule().port(80)),
                              policy("in2").ingress(rule()), policy("shut").deny_ingress(),
                              policy("out").selects({{"app", "cli"}}).egress(rule().block("10.0.0.0/16"))});
  const auto verdict = evaluate::evaluate(cluster, tcp_flow(cli, web, 80));
  EXPECT_TRUE(verdict.allowed);
  const std::vector<evaluate::PolicyVerdict> expected{{"default", "out", Direction::egress, 0},
                                                      {"default", "in", Direction::ingress, 1},
                                                      {"default", "in2", Direction::ingress, 0}};
  EXPECT_EQ(verdict.policies, expected);
}

TEST(Evaluate, PodPeersMatchPodsAndNeverNodes) {  // P-02 P-05 P-11 P-15 B-14 N-06
  const auto by_label = world({policy("p").selects({{"app", "web"}}).ingress(rule().pods(everything(), everything()))});
  check(by_label, {{"other namespace", tcp_flow(far, web, 80), true, Reason::allowed_by_rule},
                   {"outside", tcp_flow(outside, web, 80), false, Reason::default_deny},
                   {"another node", tcp_flow(host2, web, 80), false, Reason::default_deny}});
  const auto by_block = world({policy("p").selects({{"app", "web"}}).ingress(rule().block("192.0.2.0/24"))});
  check(by_block, {{"another node", tcp_flow(host2, web, 80), true, Reason::allowed_by_rule},
                   {"pod", tcp_flow(cli, web, 80), false, Reason::default_deny}});
  const auto own = world({policy("p").selects({{"app", "web"}}).ingress(rule().pods({{"app", "cli"}}))});
  check(own, {{"own namespace", tcp_flow(cli, web, 80), true, Reason::allowed_by_rule},
              {"same label elsewhere", tcp_flow(far, web, 80), false, Reason::default_deny}});
}

TEST(Evaluate, NothingAdmitsNobodyAndStillIsolates) {  // P-16 T-28 V-11
  const auto cluster = world({policy("p").ingress(rule().peer(api::Nothing{"empty peer"})),
                              policy("q").ingress(rule().no_port("protocol FOO"))});
  check(cluster, {{"pod", tcp_flow(cli, web, 80), false, Reason::default_deny},
                  {"outside", tcp_flow(outside, web, 0), false, Reason::default_deny}});
}

TEST(Evaluate, NamedPortsAreThoseOfTheDestination) {  // T-08 T-09 T-11 T-12 T-13 T-15 T-22
  const auto in = world({policy("p").ingress(rule().named_port("http"))});
  check(in, {{"web's number", tcp_flow(cli, web, 8080), true, Reason::allowed_by_rule},
             {"cli's number at web", tcp_flow(cli, web, 9090), false, Reason::default_deny},
             {"cli's number at cli", tcp_flow(web, cli, 9090), true, Reason::allowed_by_rule},
             {"web's UDP number by TCP", tcp_flow(cli, web, 53), false, Reason::default_deny},
             {"UDP", flow(cli, web, net::udp, 53), false, Reason::default_deny}});
  const auto out = world({policy("p").egress(rule().block("0.0.0.0/0").named_port("http"))});
  check(out, {{"web's number", tcp_flow(cli, web, 8080), true, Reason::allowed_by_rule},
              {"own number at web", tcp_flow(cli, web, 9090), false, Reason::default_deny, Direction::egress},
              {"a pod without the name", tcp_flow(cli, far, 8080), false, Reason::default_deny, Direction::egress},
              {"no pod", tcp_flow(cli, outside, 8080), false, Reason::default_deny, Direction::egress}});
}

TEST(Evaluate, PortsOfOneProtocolSayNothingOfAnother) {  // T-02 T-18 T-23 T-24 I-19 X-06 X-08
  const auto cluster = world({policy("p").ingress(rule().protocol(net::sctp).ports(80, 90).ports(53, 53, net::udp))});
  check(cluster, {{"SCTP", flow(cli, web, net::sctp, 7), true, Reason::allowed_by_rule},
                  {"a whole protocol has no exception", flow(cli, web, net::sctp, 0), true, Reason::allowed_by_rule},
                  {"first", tcp_flow(cli, web, 80), true, Reason::allowed_by_rule},
                  {"last", tcp_flow(cli, web, 90), true, Reason::allowed_by_rule},
                  {"below", tcp_flow(cli, web, 79), false, Reason::default_deny},
                  {"above", tcp_flow(cli, web, 91), false, Reason::default_deny},
                  {"UDP in the TCP range", flow(cli, web, net::udp, 80), false, Reason::default_deny},
                  {"UDP", flow(cli, web, net::udp, 53), true, Reason::allowed_by_rule},
                  {"ICMP", flow(cli, web, net::icmp), false, Reason::default_deny}});
  const auto any = world({policy("p").ingress(rule().pods({{"app", "cli"}}))});
  check(any, {{"ICMP of the peer", flow(cli, web, net::icmp), true, Reason::allowed_by_rule},
              {"ICMP of another", flow(far, web, net::icmp), false, Reason::default_deny}});
}

TEST(Evaluate, PodsAlwaysReachThemselvesAndTheirNode) {  // S-10 N-01 N-03
  const auto cluster = world({policy("a").deny_ingress().deny_egress(), policy("a").ns("other").deny_ingress()});
  check(cluster, {{"itself", tcp_flow(web, web, 80), true, Reason::own_pod},
                  {"from its node", tcp_flow(host1, web, 80), true, Reason::own_node},
                  {"to its node", tcp_flow(web, host1, 80), true, Reason::own_node},
                  {"from another node", tcp_flow(host2, web, 80), false, Reason::default_deny},
                  {"to another node", tcp_flow(web, host2, 80), false, Reason::default_deny, Direction::egress},
                  {"n1 to a pod of n2", tcp_flow(host1, far, 80), false, Reason::default_deny}});
}

TEST(Evaluate, ANodeJudgesItsOwnPodsOnly) {  // P-12 N-11
  const auto cluster = world({policy("a").deny_egress(), policy("b").ns("other").deny_ingress()});
  check(cluster, {{"egress of its pod", tcp_flow(cli, far, 80), false, Reason::default_deny, Direction::egress}},
        {"n1", true});
  check(cluster,
        {{"ingress of its pod", tcp_flow(cli, far, 80), false, Reason::default_deny},
         {"far answers for nobody else", tcp_flow(far, web, 80), true, Reason::not_isolated},
         {"pods of another node", tcp_flow(cli, web, 80), true, Reason::no_pod}},
        {"n2", true});
}

TEST(Evaluate, UnknownAddressesOfTheNodesRangesAreClosed) {
  const auto cluster = world();
  check(cluster,
        {{"source", tcp_flow("10.0.1.77", outside, 80), false, Reason::fail_closed, Direction::egress},
         {"destination", tcp_flow(far, "10.0.1.77", 80), false, Reason::fail_closed},
         {"both", tcp_flow("10.0.1.77", "10.0.1.78", 80), false, Reason::fail_closed, Direction::egress},
         {"ranges of another node", tcp_flow(web, "10.0.2.77", 80), true, Reason::not_isolated},
         {"its node speaks", tcp_flow(host1, "10.0.1.77", 80), true, Reason::own_node}},
        {"n1", true});
  check(cluster, {{"switched off", tcp_flow("10.0.1.77", outside, 80), true, Reason::no_pod}}, {"n1", false});
  check(cluster, {{"no node asked", tcp_flow("10.0.1.77", outside, 80), true, Reason::no_pod}});
}

TEST(Evaluate, AddressesThatArePluggedInAreClosedUntilTheirPodIsKnown) {
  const auto cluster = world();
  const std::vector<net::IpAddr> attached{ip("172.20.0.9"), ip(web), ip(far)};
  check(cluster,
        {{"source, beside every range", tcp_flow("172.20.0.9", outside, 80), false, Reason::fail_closed,
          Direction::egress},
         {"destination", tcp_flow(web, "172.20.0.9", 80), false, Reason::fail_closed},
         {"a known pod", tcp_flow(web, outside, 80), true, Reason::not_isolated},
         {"a pod of another node, says the cluster", tcp_flow(web, far, 80), false, Reason::fail_closed},
         {"its node speaks", tcp_flow(host1, "172.20.0.9", 80), true, Reason::own_node}},
        {"n1", false, attached});
  check(cluster, {{"no node asked", tcp_flow("172.20.0.9", outside, 80), true, Reason::no_pod}}, {"", true, attached});
}

TEST(Evaluate, APodThatIsOverIsUnknown) {  // D-11 D-12
  const auto cluster = world({pod("web").label("app", "web").ip(web).phase(api::Phase::succeeded),
                              policy("p").ingress(rule().pods({{"app", "web"}}))});
  check(cluster, {{"its address is nobody's", tcp_flow(web, cli, 80), false, Reason::default_deny}});
  check(cluster, {{"and closed at its node", tcp_flow(cli, web, 80), false, Reason::fail_closed}}, {"n1", true});
}

TEST(Evaluate, HostNetworkPodsAreNoSubjects) {  // N-05
  const auto cluster = world({policy("p").selects({{"app", "web"}}).deny_egress()});
  check(cluster, {{"host network", tcp_flow(host1, far, 80), true, Reason::not_isolated},
                  {"pod of the same labels", tcp_flow(web, far, 80), false, Reason::default_deny, Direction::egress}});
  const api::Pod* agent = cluster.find_pod("default", "agent");
  ASSERT_NE(agent, nullptr);
  EXPECT_TRUE(evaluate::isolating(cluster, *agent, Direction::egress).empty());
}

TEST(Evaluate, EveryReasonHasAName) {
  EXPECT_EQ(evaluate::name_of(Reason::no_pod), "no_pod");
  EXPECT_EQ(evaluate::name_of(Reason::own_node), "own_node");
  EXPECT_EQ(evaluate::name_of(Reason::own_pod), "own_pod");
  EXPECT_EQ(evaluate::name_of(Reason::fail_closed), "fail_closed");
}

}  // namespace
}  // namespace podfence::test
