#include "policy/store/cluster.h"

#include <gtest/gtest.h>

#include "tests/support/builders.h"

namespace podfence::store {
namespace {

using test::cluster_of;
using test::ip;
using test::node;
using test::ns;
using test::pod;
using test::policy;

std::string owner_of(const Cluster& cluster, std::string_view address) {
  const api::Pod* owner = cluster.pod_by_ip(ip(address));
  return owner == nullptr ? "" : owner->meta.name;
}

Remove gone(api::Kind kind, std::string namespace_, std::string name, std::string uid = "") {
  return Remove{{kind, std::move(namespace_), std::move(name)}, std::move(uid)};
}

TEST(Cluster, finds_what_it_took) {
  const Cluster cluster = cluster_of(
      {ns("shop"), node("n1").ip("192.0.2.1"), pod("web").ns("shop").ip("10.0.0.1"), policy("deny").ns("shop")});
  ASSERT_NE(cluster.find_namespace("shop"), nullptr);
  ASSERT_NE(cluster.find_node("n1"), nullptr);
  ASSERT_NE(cluster.find_pod("shop", "web"), nullptr);
  ASSERT_NE(cluster.find_policy("shop", "deny"), nullptr);
  EXPECT_EQ(cluster.find_pod("default", "web"), nullptr);
  EXPECT_EQ(cluster.find_policy("default", "deny"), nullptr);
  EXPECT_EQ(cluster.node_by_ip(ip("192.0.2.1")), cluster.find_node("n1"));
  EXPECT_EQ(cluster.pod_by_ip(ip("10.0.0.1")), cluster.find_pod("shop", "web"));
}

// U-08
TEST(Cluster, U_08_same_policy_name_in_two_namespaces_is_two_policies) {
  const Cluster cluster = cluster_of({policy("allow").ns("a").deny_ingress(), policy("allow").ns("b").deny_egress()});
  EXPECT_EQ(cluster.policies().size(), 2U);
  EXPECT_TRUE(cluster.find_policy("b", "allow")->isolates_egress);
}

// D-24, D-25
TEST(Cluster, D_24_the_same_object_again_changes_nothing) {
  Cluster cluster = cluster_of({ns("shop"), node("n1"), pod("web").ip("10.0.0.1"), policy("deny")});
  EXPECT_FALSE(cluster.apply(Upsert{ns("shop")}));
  EXPECT_FALSE(cluster.apply(Upsert{node("n1")}));
  EXPECT_FALSE(cluster.apply(Upsert{pod("web").ip("10.0.0.1")}));
  EXPECT_FALSE(cluster.apply(Upsert{policy("deny")}));
  EXPECT_TRUE(cluster.apply(Upsert{pod("web").ip("10.0.0.1").label("a", "b")}));
}

TEST(Cluster, removing_what_is_not_there_changes_nothing) {
  Cluster cluster = cluster_of({pod("web")});
  EXPECT_FALSE(cluster.apply(gone(api::Kind::pod, "default", "other")));
  EXPECT_FALSE(cluster.apply(gone(api::Kind::network_policy, "default", "web")));
  EXPECT_FALSE(cluster.apply(gone(api::Kind::namespace_, "", "web")));
  EXPECT_TRUE(cluster.apply(gone(api::Kind::pod, "default", "web")));
  EXPECT_EQ(cluster, Cluster());
}

// D-04, D-13
TEST(Cluster, D_13_a_late_delete_of_the_old_pod_does_not_remove_the_new) {
  Cluster cluster = cluster_of({pod("web").uid("new").ip("10.0.0.1")});
  EXPECT_FALSE(cluster.apply(gone(api::Kind::pod, "default", "web", "old")));
  EXPECT_EQ(owner_of(cluster, "10.0.0.1"), "web");
  EXPECT_TRUE(cluster.apply(gone(api::Kind::pod, "default", "web", "new")));
  EXPECT_EQ(owner_of(cluster, "10.0.0.1"), "");
}

// D-16
TEST(Cluster, D_16_a_pod_whose_address_changes_is_found_by_the_new_one_only) {
  Cluster cluster = cluster_of({pod("web").ip("10.0.0.1").ip("fd00::1")});
  cluster.apply(Upsert{pod("web").ip("10.0.0.2").ip("fd00::1")});
  EXPECT_EQ(owner_of(cluster, "10.0.0.1"), "");
  EXPECT_EQ(owner_of(cluster, "10.0.0.2"), "web");
  EXPECT_EQ(owner_of(cluster, "fd00::1"), "web");
}

struct OwnerCase {
  std::string name;
  std::vector<api::Object> pods;
  std::string owner;
};

TEST(Cluster, the_owner_of_an_address_that_several_pods_claim) {
  const auto at = [](std::string name) { return pod(std::move(name)).ip("10.0.0.1"); };
  const std::vector<OwnerCase> cases{
      {"D-12: a finished pod owns nothing", {at("a").phase(api::Phase::succeeded)}, ""},
      {"D-12: nor does a failed one", {at("a").phase(api::Phase::failed), at("b").created(-5)}, "b"},
      {"N-05: nor one on the host's network", {at("a").host_network()}, ""},
      {"D-14: a terminating pod does", {at("a").terminating()}, "a"},
      {"D-13: Running before Pending", {at("a").phase(api::Phase::pending).created(9), at("b").created(1)}, "b"},
      {"D-13: then the newest", {at("a").created(1), at("b").created(2), at("c").created(1)}, "b"},
      {"then by uid", {at("a").uid("2"), at("b").uid("1")}, "b"},
      {"then by name", {at("b").uid("1"), at("a").uid("1")}, "a"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    auto pods = c.pods;
    EXPECT_EQ(owner_of(cluster_of(pods), "10.0.0.1"), c.owner);
    std::reverse(pods.begin(), pods.end());
    EXPECT_EQ(owner_of(cluster_of(pods), "10.0.0.1"), c.owner);
  }
}

// D-11, D-13
TEST(Cluster, D_11_the_second_claimant_takes_over_when_the_first_goes) {
  Cluster cluster = cluster_of({pod("old").ip("10.0.0.1").created(1), pod("new").ip("10.0.0.1").created(2)});
  EXPECT_EQ(owner_of(cluster, "10.0.0.1"), "new");
  cluster.apply(Upsert{pod("new").ip("10.0.0.1").created(2).phase(api::Phase::succeeded)});
  EXPECT_EQ(owner_of(cluster, "10.0.0.1"), "old");
  cluster.apply(Upsert{pod("new").ip("10.0.0.1").created(2)});
  cluster.apply(gone(api::Kind::pod, "default", "old"));
  EXPECT_EQ(owner_of(cluster, "10.0.0.1"), "new");
}

// N-06
TEST(Cluster, N_06_an_address_of_a_node_is_never_a_pods) {
  Cluster cluster = cluster_of({pod("web").ip("192.0.2.1"), node("n1").ip("192.0.2.1").ip("2001:db8::1")});
  EXPECT_EQ(owner_of(cluster, "192.0.2.1"), "");
  EXPECT_EQ(cluster.node_by_ip(ip("2001:db8::1"))->meta.name, "n1");  // N-02, 6-07
  cluster.apply(Upsert{node("n1").ip("192.0.2.2")});
  EXPECT_EQ(owner_of(cluster, "192.0.2.1"), "web");
  EXPECT_EQ(cluster.node_by_ip(ip("192.0.2.1")), nullptr);
  cluster.apply(gone(api::Kind::node, "", "n1"));
  EXPECT_EQ(cluster.node_by_ip(ip("192.0.2.2")), nullptr);
}

// L-10, L-11
TEST(Cluster, L_11_a_namespace_always_has_the_label_with_its_name) {
  api::Namespace bare;
  bare.meta.name = "shop";
  bare.meta.labels = {{"a", "1"}, {"z", "2"}};
  Cluster cluster = cluster_of({bare});
  const auto named = [&](std::string_view name) {
    return api::find_label(cluster.namespace_labels(name), "kubernetes.io/metadata.name");
  };
  EXPECT_EQ(named("shop"), "shop");
  EXPECT_EQ(cluster.namespace_labels("shop").size(), 3U);
  EXPECT_EQ(named("unknown"), "unknown");
  EXPECT_EQ(cluster.namespace_labels("unknown").size(), 1U);
  bare.meta.labels = {{"kubernetes.io/metadata.name", "prod"}};
  cluster.apply(Upsert{bare});
  EXPECT_EQ(named("shop"), "shop");
}

TEST(Cluster, a_copy_lives_on_its_own) {
  auto original = std::make_unique<Cluster>(cluster_of({pod("web").ip("10.0.0.1"), node("n1").ip("192.0.2.1")}));
  Cluster copy = *original;
  EXPECT_EQ(copy, *original);
  original->apply(gone(api::Kind::pod, "default", "web"));
  original.reset();
  ASSERT_NE(copy.pod_by_ip(ip("10.0.0.1")), nullptr);
  EXPECT_EQ(copy.pod_by_ip(ip("10.0.0.1")), copy.find_pod("default", "web"));
  EXPECT_EQ(copy.node_by_ip(ip("192.0.2.1")), copy.find_node("n1"));
  Cluster moved = std::move(copy);
  EXPECT_EQ(moved.pod_by_ip(ip("10.0.0.1")), moved.find_pod("default", "web"));
  Cluster assigned = cluster_of({pod("old").ip("10.0.0.9")});
  assigned = moved;
  EXPECT_EQ(assigned.pod_by_ip(ip("10.0.0.1")), assigned.find_pod("default", "web"));
  EXPECT_EQ(assigned.pod_by_ip(ip("10.0.0.9")), nullptr);
}

// What 100,000 pods have in common is stored once.
TEST(Cluster, replicas_share_what_is_equal) {
  const auto replica = [](const std::string& name, const std::string& address) {
    return pod(name)
        .ns("shop")
        .node("node-1")
        .label("app", "web")
        .port("http", 8080)
        .workload("Deployment", "web")
        .ip(address);
  };
  Cluster cluster =
      cluster_of({node("node-1"), replica("web-3", "10.0.0.3"), replica("other", "10.0.0.9").label("app", "x"),
                  replica("web-1", "10.0.0.1"), replica("web-2", "10.0.0.2")});
  const api::Pod& one = *cluster.find_pod("shop", "web-1");
  for (const std::string name : {"web-2", "web-3"}) {
    const api::Pod& two = *cluster.find_pod("shop", name);
    EXPECT_TRUE(one.meta.labels.shares_with(two.meta.labels)) << name;
    EXPECT_TRUE(one.named_ports.shares_with(two.named_ports));
    EXPECT_TRUE(one.meta.namespace_.shares_with(two.meta.namespace_));
    EXPECT_TRUE(one.workload.shares_with(two.workload));
    EXPECT_TRUE(one.node.shares_with(cluster.find_node("node-1")->meta.name));
  }
  EXPECT_TRUE(cluster.pods().begin()->first.second.shares_with(cluster.pods().begin()->second.meta.name));
  cluster.apply(Upsert{replica("web-2", "10.0.0.2").label("canary", "yes")});
  EXPECT_EQ(one.meta.labels.size(), 1U);
  EXPECT_EQ(cluster.find_pod("shop", "web-2")->meta.labels.size(), 2U);
}

TEST(Event, names_its_object) {
  EXPECT_EQ(key_of(Event(Upsert{pod("web").ns("shop")})).text(), "Pod shop/web");
  EXPECT_EQ(key_of(Event(Upsert{ns("shop")})).text(), "Namespace shop");
  EXPECT_EQ(key_of(Event(gone(api::Kind::network_policy, "shop", "deny"))).text(), "NetworkPolicy shop/deny");
}

}  // namespace
}  // namespace podfence::store
