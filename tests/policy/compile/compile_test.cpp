// What a cluster becomes, set by set. Whether it decides rightly is for differential_test.cpp and the cases to say.
#include "policy/compile/compile.h"

#include <gtest/gtest.h>

#include "policy/diff/diff.h"
#include "tests/support/builders.h"

namespace podfence::compile {
namespace {

using test::cluster_of;
using test::node;
using test::ns;
using test::pod;
using test::policy;
using test::rule;

/// The elements as text, one a line; isolated, self, known and managed only on demand: they are the same in most tests.
/// Those of policies are in policy_set_test.cpp.
std::string text_of(const store::Cluster& cluster, bool with_addresses = false, std::uint32_t split_ports = 4) {
  Settings settings;
  settings.node = "n1";
  settings.split_ports = split_ports;
  const program::Program program = compile(cluster, settings);
  std::string text;
  for (std::size_t i = 0; i < program::set_count; ++i) {
    const program::SetId set = program::set_at(i);
    if (set.shape == program::Shape::policies) continue;
    const bool addresses = set.shape == program::Shape::isolated || set.shape == program::Shape::self ||
                           set.shape == program::Shape::known || set.shape == program::Shape::managed;
    if (addresses != with_addresses) continue;
    for (const auto& element : program.sets[i]) {
      text += std::string(program::name_of(set)) + " " + program::text_of(set, element) + "\n";
    }
  }
  return text;
}

TEST(Compile, an_empty_cluster_is_an_empty_program) {
  EXPECT_EQ(text_of({}) + text_of({}, true), "");
}

TEST(Compile, pods_of_this_node_are_known_and_reach_themselves) {  // I-01
  const auto cluster = cluster_of({pod("a").ip("10.0.0.1").ip("fd00::1"), pod("b").node("n2").ip("10.0.0.2")});
  EXPECT_EQ(text_of(cluster), "");
  EXPECT_EQ(text_of(cluster, true),
            "self4 10.0.0.1 . 10.0.0.1\nself6 fd00::1 . fd00::1\nknown4 10.0.0.1\nknown6 fd00::1\n");
}

TEST(Compile, isolation_is_by_direction_and_covers_every_address) {  // I-02, I-04, I-18
  const auto cluster = cluster_of({pod("a").ip("10.0.0.1").ip("fd00::1"), policy("p").deny_ingress()});
  EXPECT_EQ(text_of(cluster), "");
  EXPECT_EQ(text_of(cluster, true).substr(0, text_of(cluster, true).find("self4")),
            "in_isolated4 10.0.0.1\nin_isolated6 fd00::1\n");
}

TEST(Compile, pods_that_match_the_same_peers_share_a_class) {  // P-02, P-12, P-18
  const auto cluster =
      cluster_of({pod("web").label("app", "web").ip("10.0.0.1"), pod("c1").label("app", "cli").ip("10.0.0.2"),
                  pod("c2").node("n2").label("app", "cli").ip("10.0.0.3"), pod("no").label("app", "no").ip("10.0.0.4"),
                  policy("p").selects({{"app", "web"}}).ingress(rule().pods({{"app", "cli"}}).port(80))});
  EXPECT_EQ(text_of(cluster), "in_peer4 10.0.0.2 : 1:0\nin_peer4 10.0.0.3 : 1:0\nin_port4 1:0 . 10.0.0.1 . tcp . 80\n");
}

TEST(Compile, policies_that_select_no_pod_of_this_node_leave_no_trace) {
  const auto cluster = cluster_of({pod("a").ip("10.0.0.1"), pod("b").node("n2").label("app", "b").ip("10.0.0.2"),
                                   policy("p").selects({{"app", "b"}}).ingress(rule().pods({}).port(80))});
  EXPECT_EQ(text_of(cluster), "");
}

TEST(Compile, ranges_are_split_up_to_the_limit) {  // T-18, T-19, T-20
  const auto cluster = cluster_of(
      {pod("a").ip("10.0.0.1"), policy("p").ingress(rule().ports(80, 83).ports(90, 94).ports(7, 7).port(8))});
  EXPECT_EQ(text_of(cluster),
            "in_all_port4 10.0.0.1 . tcp . 7\nin_all_port4 10.0.0.1 . tcp . 8\n"
            "in_all_port4 10.0.0.1 . tcp . 80\nin_all_port4 10.0.0.1 . tcp . 81\n"
            "in_all_port4 10.0.0.1 . tcp . 82\nin_all_port4 10.0.0.1 . tcp . 83\n"
            "in_all_range4 10.0.0.1 . tcp . 90-94\n");
}

TEST(Compile, whole_protocols_and_any_port_are_sets_of_their_own) {  // T-01, T-02, U-03
  const auto cluster =
      cluster_of({pod("a").label("app", "a").ip("10.0.0.1"),
                  policy("p").ingress(rule().pods({{"app", "a"}}).protocol(net::udp).port(53, net::udp)),
                  policy("q").egress(rule().port(80)).egress(rule())});
  EXPECT_EQ(text_of(cluster), "in_peer4 10.0.0.1 : 1:0\nin_protocol4 1:0 . 10.0.0.1 . udp\nout_all_any4 10.0.0.1\n");
}

TEST(Compile, blocks_are_disjoint_ranges_and_pods_in_them_override) {  // B-01, B-03, B-12, B-14
  const auto cluster =
      cluster_of({pod("a").label("app", "a").ip("10.0.0.1"), pod("b").node("n2").label("app", "b").ip("10.0.0.9"),
                  policy("p")
                      .selects({{"app", "a"}})
                      .egress(rule().block("10.0.0.0/28", {"10.0.0.4/30"}).port(80))
                      .egress(rule().block("10.0.0.8/29").pods({{"app", "b"}}).port(81))});
  EXPECT_EQ(text_of(cluster),
            "out_cidr4 10.0.0.0/30 : 1:0\nout_cidr4 10.0.0.8/29 : 1:1\nout_peer4 10.0.0.9 : 1:2\n"
            "out_port4 1:0 . 10.0.0.1 . tcp . 80\nout_port4 1:1 . 10.0.0.1 . tcp . 80\n"
            "out_port4 1:1 . 10.0.0.1 . tcp . 81\nout_port4 1:2 . 10.0.0.1 . tcp . 80\n"
            "out_port4 1:2 . 10.0.0.1 . tcp . 81\n");
}

TEST(Compile, blocks_reach_the_ends_of_their_family_and_no_further) {  // B-09, B-17, B-18
  const auto cluster =
      cluster_of({pod("a").ip("10.0.0.1"), policy("p").egress(rule().block("0.0.0.0/0").block("::/0", {"8000::/1"}))});
  EXPECT_EQ(text_of(cluster), "out_cidr4 0.0.0.0/0 : 1:0\nout_cidr6 ::/1 : 1:1\nout_any4 1:0 . 10.0.0.1\n");
}

TEST(Compile, a_named_port_makes_a_class_for_each_number) {  // T-09, T-11, T-12
  const auto cluster =
      cluster_of({pod("a").label("app", "a").ip("10.0.0.1"), pod("b").ip("10.0.0.2").port("http", 80),
                  pod("c").ip("10.0.0.3").port("http", 8080), pod("d").ip("10.0.0.4").port("http", 80, net::udp),
                  policy("p").selects({{"app", "a"}}).egress(rule().named_port("http"))});
  EXPECT_EQ(text_of(cluster),
            "out_peer4 10.0.0.2 : 1:0\nout_peer4 10.0.0.3 : 1:1\n"
            "out_port4 1:0 . 10.0.0.1 . tcp . 80\nout_port4 1:1 . 10.0.0.1 . tcp . 8080\n");
}

TEST(Compile, an_ingress_name_is_looked_up_in_the_local_pod) {  // T-08, T-15
  const auto cluster = cluster_of({pod("a").ip("10.0.0.1").port("dns", 53).port("dns", 5353, net::udp),
                                   policy("p").ingress(rule().named_port("dns", net::udp).named_port("none"))});
  EXPECT_EQ(text_of(cluster), "in_all_port4 10.0.0.1 . udp . 5353\n");
}

TEST(Compile, addresses_of_the_nodes_ranges_are_managed) {
  const auto cluster = cluster_of(
      {node("n1").ip("192.0.2.1").pod_cidr("10.0.1.0/24").pod_cidr("10.0.0.0/24"), node("n2").pod_cidr("10.0.2.0/24")});
  EXPECT_EQ(text_of(cluster, true), "managed4 10.0.0.0/23\n");
  Settings settings;
  settings.node = "n1";
  settings.fail_closed = false;
  EXPECT_EQ(compile(cluster, settings).element_count(), 0U);
}

TEST(Compile, whoever_cannot_be_selected_is_in_no_set) {  // D-11, D-12, D-15, N-05, N-06, P-15
  const auto cluster = cluster_of({node("n1").ip("192.0.2.1"), pod("over").ip("10.0.0.1").phase(api::Phase::succeeded),
                                   pod("failed").ip("10.0.0.2").phase(api::Phase::failed), pod("none"),
                                   pod("host").ip("192.0.2.1").host_network(), pod("claims").ip("192.0.2.1"),
                                   policy("p").ingress(rule().pods(test::everything(), test::everything()))});
  EXPECT_EQ(text_of(cluster) + text_of(cluster, true), "");
}

TEST(Compile, an_address_is_of_the_pod_that_owns_it) {  // D-13
  const auto cluster =
      cluster_of({pod("old").label("app", "a").ip("10.0.0.1").created(1),
                  pod("new").label("app", "b").ip("10.0.0.1").created(2), pod("web").label("app", "web").ip("10.0.0.2"),
                  policy("p")
                      .selects({{"app", "web"}})
                      .ingress(rule().pods({{"app", "a"}}).port(1))
                      .ingress(rule().pods({{"app", "b"}}).port(2)),
                  policy("q").selects({{"app", "a"}}).deny_egress()});
  EXPECT_EQ(text_of(cluster), "in_peer4 10.0.0.1 : 1:0\nin_port4 1:0 . 10.0.0.2 . tcp . 2\n");
}

TEST(Canonical, numbers_follow_the_first_address_in_each_direction) {
  const auto cluster = cluster_of({pod("web").label("app", "web").ip("10.0.0.9"),
                                   pod("b").label("app", "b").ip("10.0.0.1"), pod("c").label("app", "c").ip("10.0.0.2"),
                                   policy("p")
                                       .selects({{"app", "web"}})
                                       .ingress(rule().pods({{"app", "c"}}).port(1))
                                       .ingress(rule().pods({{"app", "b"}}).port(2))});
  Settings settings;
  settings.node = "n1";
  const program::Program right = compile(cluster, settings);
  program::Program other = right;
  for (std::size_t i = 0; i < program::set_count; ++i) {
    if (!program::names_class(program::set_at(i).shape)) continue;
    auto& elements = other.sets[i];
    for (auto& element : elements) {
      if (element.class_id != program::no_class) element.class_id = program::first_class + 70 - element.class_id % 2;
    }
    std::sort(elements.begin(), elements.end());
  }
  ASSERT_NE(other, right);
  EXPECT_EQ(canonical(other), right);
  EXPECT_EQ(right.at({program::Shape::peer_class, net::Direction::ingress, net::Family::ipv4})[0].class_id,
            program::first_class);
}

}  // namespace
}  // namespace podfence::compile
