#include "policy/model/grant.h"

#include <gtest/gtest.h>

#include "tests/support/builders.h"

namespace podfence::model {
namespace {

using net::Direction;
using test::policy;
using test::rule;

PortSet tcp_port(std::uint16_t number) {
  PortSetBuilder builder;
  builder.add(net::tcp, {net::Port{number}, net::Port{number}});
  return builder.finish();
}

PortSet any_port() {
  PortSetBuilder builder;
  builder.add_any();
  return builder.finish();
}

PeerSpec app(const char* name) {
  return {PodsOf{"shop", test::labels({{"app", name}})}, std::nullopt};
}

TEST(Grants, each_peer_of_a_rule_gets_all_its_ports_and_none_of_another_rule) {  // P-12, P-13, U-05
  const auto p = policy("p")
                     .ns("shop")
                     .ingress(rule().pods({{"app", "a"}}).pods({{"app", "b"}}).port(80))
                     .ingress(rule().pods({{"app", "c"}}).port(443))
                     .object();
  EXPECT_EQ(
      grants_of(p, Direction::ingress),
      (std::vector<Grant>{{app("a"), tcp_port(80), {}}, {app("b"), tcp_port(80), {}}, {app("c"), tcp_port(443), {}}}));
  EXPECT_TRUE(grants_of(p, Direction::egress).empty());  // I-04
}

TEST(Grants, a_rule_without_peers_and_ports_is_for_all) {  // I-09, P-01, T-01
  const auto p = policy("p").ns("shop").ingress(rule()).object();
  EXPECT_EQ(grants_of(p, Direction::ingress), (std::vector<Grant>{{std::nullopt, any_port(), {}}}));
}

TEST(Grants, what_was_invalid_admits_nothing) {  // L-12, P-16, T-28, V-11
  api::LabelSelector invalid;
  invalid.invalid = true;
  const auto p = policy("p")
                     .ns("shop")
                     .ingress(rule().peer(api::Nothing{"why"}).port(80))
                     .ingress(rule().pods(test::everything(), invalid))
                     .ingress(rule().pods(invalid, test::everything()))
                     .ingress(rule().pods({{"app", "a"}}).no_port("why"))
                     .object();
  EXPECT_TRUE(grants_of(p, Direction::ingress).empty());
}

TEST(Grants, invalid_parts_leave_the_valid_ones) {  // V-11
  const auto p = policy("p")
                     .ns("shop")
                     .ingress(rule().peer(api::Nothing{"why"}).pods({{"app", "a"}}).no_port("why").port(80))
                     .object();
  EXPECT_EQ(grants_of(p, Direction::ingress), (std::vector<Grant>{{app("a"), tcp_port(80), {}}}));
}

TEST(Grants, a_block_loses_its_exceptions) {  // B-03, B-08, B-18
  const auto p = policy("p")
                     .ns("shop")
                     .egress(rule().block("10.0.0.0/24", {"10.0.0.0/25", "10.0.0.64/26", "10.0.0.255/32"}))
                     .object();
  const auto grants = grants_of(p, Direction::egress);
  ASSERT_EQ(grants.size(), 1U);
  EXPECT_EQ(std::get<Ranges>(grants[0].peer->who).ranges,
            (std::vector<net::IpRange>{{test::ip("10.0.0.128"), test::ip("10.0.0.254")}}));
}

TEST(Grants, a_block_of_which_nothing_is_left_admits_nobody) {  // B-03
  const auto p = policy("p").ns("shop").egress(rule().block("10.0.0.0/31", {"10.0.0.0/32", "10.0.0.1/32"})).object();
  EXPECT_TRUE(grants_of(p, Direction::egress).empty());
}

TEST(Grants, equal_blocks_are_one_peer_however_they_are_written) {  // B-12
  const auto p = policy("p")
                     .ns("shop")
                     .egress(rule().block("10.0.0.0/24", {"10.0.0.0/25"}))
                     .egress(rule().block("10.0.0.128/25"))
                     .object();
  const auto grants = grants_of(p, Direction::egress);
  ASSERT_EQ(grants.size(), 2U);
  EXPECT_EQ(grants[0], grants[1]);
}

TEST(Grants, ingress_names_are_of_the_local_pod) {  // T-08
  const auto p = policy("p").ns("shop").ingress(rule().pods({{"app", "a"}}).named_port("http").port(80)).object();
  EXPECT_EQ(grants_of(p, Direction::ingress), (std::vector<Grant>{{app("a"), tcp_port(80), {{"http", net::tcp}}}}));
}

TEST(Grants, egress_names_make_peers_of_their_own) {  // T-09, T-12
  const auto p = policy("p").ns("shop").egress(rule().pods({{"app", "a"}}).named_port("http").port(80)).object();
  PeerSpec named = app("a");
  named.port = NamedPort{"http", net::tcp};
  const auto grants = grants_of(p, Direction::egress);
  EXPECT_EQ(grants, (std::vector<Grant>{{app("a"), tcp_port(80), {}}, {named, {}, {}}}));
  EXPECT_TRUE(grants[1].is_of_peer_port());
  EXPECT_FALSE(grants[0].is_of_peer_port());
}

TEST(Grants, an_egress_name_without_peers_is_for_every_pod_that_has_it) {  // T-10
  const auto p = policy("p").ns("shop").egress(rule().named_port("http")).object();
  const PeerSpec named{PodsOf{test::everything(), test::everything()}, NamedPort{"http", net::tcp}};
  EXPECT_EQ(grants_of(p, Direction::egress), (std::vector<Grant>{{named, {}, {}}}));
}

TEST(Grants, a_namespace_selected_by_its_name_is_that_namespace) {  // L-10
  const auto by_name = test::labels({{"kubernetes.io/metadata.name", "shop"}});
  const auto p = policy("p").ns("other").ingress(rule().pods(by_name, test::labels({{"app", "a"}}))).object();
  EXPECT_EQ(grants_of(p, Direction::ingress), (std::vector<Grant>{{app("a"), any_port(), {}}}));
}

}  // namespace
}  // namespace podfence::model
