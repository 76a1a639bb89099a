// What a node has to watch (kube.md 2.4): the pods that the scope leaves out are in no rule.
#include "policy/scope/scope.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>
#include <map>
#include <optional>

#include "policy/compile/compile.h"
#include "policy/evaluate/evaluate.h"
#include "policy/program/trace.h"
#include "tests/support/builders.h"
#include "tests/support/random_world.h"
#include "tests/support/world_yaml.h"

namespace podfence {
namespace {

using scope::Scope;
using scope::Scoper;
using test::labels;
using test::ns;
using test::pod;
using test::policy;
using test::rule;
using testing::ElementsAre;
using testing::IsEmpty;

class ScopeTest : public testing::Test {
 protected:
  void SetUp() override {
    put({ns("shop").label("team", "a"), ns("people").label("team", "b"), ns("dns").label("name", "dns"),
         pod("web").ns("shop").label("app", "web").ip("10.0.0.1"),
         pod("db").ns("shop").node("n2").label("app", "db").ip("10.0.1.1"),
         pod("client").ns("people").node("n2").ip("10.0.1.2")});
  }
  /// Whether something of the scope may have changed.
  bool put(std::vector<api::Object> objects) {
    bool changed = false;
    for (const auto& event : test::events_of(std::move(objects))) changed = scoper.apply(event) || changed;
    return changed;
  }
  bool remove(api::Kind kind, const std::string& in, const std::string& name) {
    return scoper.apply(store::Remove{{kind, in, name}, ""});
  }
  std::set<std::string, std::less<>> namespaces() const {
    EXPECT_FALSE(scoper.scope().everything);
    return scoper.scope().namespaces;
  }

  Scoper scoper{"n1"};
};

TEST_F(ScopeTest, without_policies_nobody_elses_pods) {
  EXPECT_THAT(namespaces(), IsEmpty());
}

TEST_F(ScopeTest, a_policy_that_selects_no_pod_of_this_node_names_nobody) {
  put({policy("p").ns("shop").selects({{"app", "db"}}).ingress(rule().pods({}))});
  EXPECT_THAT(namespaces(), IsEmpty());
  put({policy("p").ns("people").ingress(rule().pods(test::everything(), {}))});
  EXPECT_THAT(namespaces(), IsEmpty());
}

TEST_F(ScopeTest, a_podSelector_is_of_the_policys_namespace) {
  put({policy("p").ns("shop").ingress(rule().pods({{"app", "db"}}))});
  EXPECT_THAT(namespaces(), ElementsAre("shop"));
}

TEST_F(ScopeTest, a_namespaceSelector_is_of_those_that_match_now) {
  put({policy("p")
           .ns("shop")
           .ingress(rule().pods(labels({{"team", "b"}}), {}))
           .egress(rule().pods(labels({{"name", "dns"}}), {}))});
  EXPECT_THAT(namespaces(), ElementsAre("dns", "people"));
  EXPECT_TRUE(put({ns("late").label("team", "b")}));
  EXPECT_THAT(namespaces(), ElementsAre("dns", "late", "people"));
  EXPECT_TRUE(put({ns("people")}));
  EXPECT_TRUE(remove(api::Kind::namespace_, "", "late"));
  EXPECT_THAT(namespaces(), ElementsAre("dns"));
}

TEST_F(ScopeTest, blocks_and_any_address_name_no_pods) {
  put({policy("p")
           .ns("shop")
           .deny_ingress()
           .ingress(rule())
           .ingress(rule().block("10.0.0.0/8").port(80))
           .egress(rule().port(53))});
  EXPECT_THAT(namespaces(), IsEmpty());
}

TEST_F(ScopeTest, every_namespace_is_the_whole_cluster) {
  put({policy("p").ns("shop").ingress(rule().pods(test::everything(), labels({{"app", "x"}})))});
  EXPECT_TRUE(scoper.scope().everything);
  EXPECT_TRUE(remove(api::Kind::network_policy, "shop", "p"));
  EXPECT_THAT(namespaces(), IsEmpty());
}

TEST_F(ScopeTest, a_named_port_of_any_peer_is_the_whole_cluster) {  // T-09 to T-12
  put({policy("p").ns("shop").ingress(rule().named_port("http"))});
  EXPECT_FALSE(scoper.scope().everything) << "of the local pod itself";
  put({policy("q").ns("shop").egress(rule().named_port("http"))});
  EXPECT_TRUE(scoper.scope().everything);
  put({policy("q").ns("shop").egress(rule().block("10.0.1.0/24").named_port("http"))});
  EXPECT_TRUE(scoper.scope().everything);
}

TEST_F(ScopeTest, follows_the_pods_of_this_node) {
  put({policy("p").ns("people").ingress(rule().pods({}))});
  EXPECT_THAT(namespaces(), IsEmpty());
  EXPECT_TRUE(put({pod("mine").ns("people").ip("10.0.0.2")}));
  EXPECT_THAT(namespaces(), ElementsAre("people"));
  EXPECT_FALSE(put({pod("mine").ns("people").ip("10.0.0.3").phase(api::Phase::pending)})) << "what no policy looks at";
  EXPECT_FALSE(put({pod("client").ns("people").node("n2").label("new", "label").ip("10.0.1.2")}));
  EXPECT_TRUE(put({pod("mine").ns("people").node("n2").ip("10.0.1.3")})) << "made again, elsewhere";
  EXPECT_THAT(namespaces(), IsEmpty());
}

TEST_F(ScopeTest, pods_on_the_hosts_network_are_no_subjects) {
  put({pod("agent").ns("people").host_network(), policy("p").ns("people").ingress(rule().pods({}))});
  EXPECT_THAT(namespaces(), IsEmpty());
}

/// The world as a node with this scope hears it.
test::World seen_by(const test::World& world, const Scope& scope) {
  test::World seen = world;
  std::erase_if(seen.objects, [&](const api::Object& object) {
    const auto* pod = std::get_if<api::Pod>(&object);
    return pod != nullptr && pod->node != world.node && !scope.everything &&
           !scope.namespaces.contains(pod->meta.namespace_);
  });
  return seen;
}

/// Two pods with one address: who owns it is a matter of both, and a scope may see one of them only.
bool shares_addresses(const test::World& world) {
  std::map<net::IpAddr, int> owners;
  for (const auto& object : world.objects) {
    const auto* pod = std::get_if<api::Pod>(&object);
    if (pod == nullptr || !pod->selectable()) continue;
    for (const auto& ip : pod->ips) {
      if (++owners[ip] > 1) return true;
    }
  }
  return false;
}

/// In a cluster no pod is without its namespace; a watch may be late, and then the scope is, too.
void add_namespaces(test::World& world) {
  std::set<std::string> missing;
  for (const auto& object : world.objects) {
    if (const auto* pod = std::get_if<api::Pod>(&object)) missing.insert(pod->meta.namespace_);
  }
  for (const auto& object : world.objects) {
    if (const auto* known = std::get_if<api::Namespace>(&object)) missing.erase(known->meta.name);
  }
  for (const auto& name : missing) world.objects.push_back(ns(name));
}

/// The first flow of the node for which the program of the smaller world does not do what is right in the whole one.
std::optional<net::Flow> first_difference(const test::World& world, const test::World& seen, test::Random& random) {
  compile::Settings settings;
  settings.node = world.node;
  settings.fail_closed = world.fail_closed;
  const auto cluster = test::cluster_of(world);
  const auto program = compile::compile(test::cluster_of(seen), settings);
  const program::Tracer tracer{settings.options};
  for (const auto& flow : test::flows_in(world, random, 8)) {
    if (const auto* node = cluster.find_node(world.node)) {
      const auto is_nodes = [&](const net::IpAddr& ip) {
        return std::find(node->addresses.begin(), node->addresses.end(), ip) != node->addresses.end();
      };
      if (is_nodes(flow.source) || is_nodes(flow.destination)) continue;  // never forwarded
    }
    const bool right = evaluate::evaluate(cluster, flow, {world.node, world.fail_closed, {}}).allowed;
    if (tracer.run(program, program::first_packet(flow)).accepted != right) return flow;
  }
  return std::nullopt;
}

TEST(ScopeRandom, what_the_scope_leaves_out_changes_no_verdict) {
  const std::uint64_t seed = test::seed_of_run();
  const std::size_t worlds = test::count_from_env("PODFENCE_WORLDS", 5000);
  std::cout << "PODFENCE_SEED=" << seed << " PODFENCE_WORLDS=" << worlds << std::endl;
  test::Random random(seed);
  std::size_t smaller = 0;
  for (std::size_t i = 0; i < worlds; ++i) {
    test::World world = test::random_world(random);
    add_namespaces(world);
    Scoper scoper(world.node);
    for (const auto& event : test::events_of(world.objects)) scoper.apply(event);
    const auto seen = seen_by(world, scoper.scope());
    if (seen.objects.size() < world.objects.size() && !shares_addresses(world)) {
      ++smaller;
      const auto difference = first_difference(world, seen, random);
      ASSERT_FALSE(difference) << "world " << i << ":\n" << test::case_of(world, *difference, true, "or denied");
    }

    const auto events = test::random_step(random, world);  // the scope after a step is the scope from scratch
    for (const auto& event : events) scoper.apply(event);
    Scoper afresh(world.node);
    for (const auto& event : test::events_of(world.objects)) afresh.apply(event);
    ASSERT_EQ(scoper.scope(), afresh.scope()) << "world " << i;
  }
  std::cout << smaller << " of them see less than everything" << std::endl;
  EXPECT_GT(smaller, worlds / 20);
}

}  // namespace
}  // namespace podfence
