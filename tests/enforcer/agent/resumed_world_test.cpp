// What comes after a start from a checkpoint: nothing before all is said, and then the difference. B3, V-11, L11.
#include "enforcer/agent/resumed_world.h"

#include <gtest/gtest.h>

#include "enforcer/agent/checkpoints.h"
#include "tests/support/builders.h"
#include "tests/support/random_world.h"

namespace podfence::agent {
namespace {

using store::Event;
using Events = std::vector<Event>;
using test::ns;
using test::pod;
using test::policy;

archive::Origin origin(std::vector<std::string> narrow = {}, std::string cluster = "") {
  archive::Origin made;
  made.narrow = std::move(narrow);
  made.cluster = std::move(cluster);
  return made;
}

std::vector<std::string> keys_of(const Events& events) {
  std::vector<std::string> keys;
  for (const auto& event : events) {
    keys.push_back((std::holds_alternative<store::Remove>(event) ? "-" : "+") + store::key_of(event).text());
  }
  return keys;
}

using Keys = std::vector<std::string>;

TEST(ResumedWorld, NothingComesBeforeAllIsSaid) {
  const auto in_force = test::cluster_of({ns("shop"), pod("old").node("n2"), policy("p")});
  ResumedWorld world(origin(), "n1");
  EXPECT_TRUE(world.take(test::events_of({pod("new").node("n2")}), {}, nullptr).empty());
  EXPECT_TRUE(world.take({store::Remove{{api::Kind::pod, "default", "other"}, ""}}, {}, nullptr).empty());
  EXPECT_EQ(keys_of(world.take(test::events_of({ns("shop")}), {}, &in_force)),
            (Keys{"+Pod default/new", "-Pod default/old", "-NetworkPolicy default/p"}));
  EXPECT_EQ(keys_of(world.take(test::events_of({pod("later")}), {}, nullptr)), (Keys{"+Pod default/later"}));
}

TEST(ResumedWorld, PodsOfThisNodeAreAlwaysSaid) {  // their addresses in force are the sandboxes'
  const auto in_force = test::cluster_of({pod("here").node("n1"), pod("there").node("n2")});
  ResumedWorld world(origin(), "n1");
  EXPECT_EQ(keys_of(world.take(test::events_of({pod("here").node("n1"), pod("there").node("n2")}), {}, &in_force)),
            (Keys{"+Pod default/here"}));
}

TEST(ResumedWorld, LeadsToWhatWasSaidWhateverWasInForce) {
  const auto seed = test::seed_of_run();
  SCOPED_TRACE("PODFENCE_SEED=" + std::to_string(seed));
  test::Random random(seed);
  for (std::size_t i = test::count_from_env("PODFENCE_WORLDS", 300); i > 0; --i) {
    auto in_force = test::cluster_of(test::random_world(random));
    auto said = test::random_world(random);
    ResumedWorld world(origin(), "n1");
    ASSERT_TRUE(world.take(test::events_of(said.objects), {}, nullptr).empty());
    ASSERT_TRUE(world.take(test::random_step(random, said), {}, nullptr).empty());
    for (auto& event : world.take({}, {}, &in_force)) in_force.apply(std::move(event));
    ASSERT_TRUE(in_force == test::cluster_of(said));
  }
}

TEST(ResumedWorld, ContentWithErrorsLeavesTheLastGoodInForce) {  // V-11
  const auto good = policy("p").uid("u1").deny_ingress();
  const auto narrow = policy("p").uid("u1").deny_ingress().deny_egress();
  const auto in_force = test::cluster_of({good});
  const std::string name = "NetworkPolicy default/p";
  const ResumedWorld::Problems bad{{name, {false, {"no port"}}}};
  {
    ResumedWorld world(origin(), "n1");
    EXPECT_TRUE(world.take(test::events_of({narrow}), bad, &in_force).empty());
    EXPECT_TRUE(world.keeps(name));
    EXPECT_TRUE(world.take(test::events_of({policy("p").uid("u1")}), bad, nullptr).empty()) << "worse again";
    EXPECT_EQ(world.take(test::events_of({good}), {}, nullptr).size(), 1U) << "mended";
    EXPECT_FALSE(world.keeps(name));
    EXPECT_EQ(world.take(test::events_of({narrow}), bad, nullptr).size(), 1U) << "that is the reflector's matter now";
  }
  {
    ResumedWorld world(origin(), "n1");
    EXPECT_TRUE(world.take({}, bad, &in_force).empty()) << "of what cannot be read at all nothing is said";
    EXPECT_EQ(world.take({store::Remove{{api::Kind::network_policy, "default", "p"}, "u1"}}, {}, nullptr).size(), 1U);
    EXPECT_FALSE(world.keeps(name));
  }
  {
    ResumedWorld world(origin({name}), "n1");
    EXPECT_EQ(world.take(test::events_of({narrow}), bad, &in_force).size(), 1U) << "it was no good content either";
  }
  {
    ResumedWorld world(origin(), "n1");
    EXPECT_EQ(world.take(test::events_of({policy("p").uid("u2")}), bad, &in_force).size(), 1U) << "another object";
  }
}

TEST(ResumedWorld, AnotherClusterIsNoticed) {
  for (const bool other : {false, true}) {
    auto system = std::get<api::Namespace>(api::Object(ns("kube-system")));
    system.meta.uid = other ? "theirs" : "ours";
    ResumedWorld world(origin({}, "ours"), "n1");
    world.take(test::events_of({system}), {}, nullptr);
    const store::Cluster none;
    world.take({}, {}, &none);
    EXPECT_EQ(world.of_another_cluster(), other);
  }
}

TEST(FirstPause, GrowsWithTheNodesUpToTenSeconds) {  // B3
  using std::chrono::milliseconds;
  EXPECT_EQ(first_pause(0, 0.5), milliseconds(0));
  EXPECT_EQ(first_pause(100, 0.0), milliseconds(0));
  EXPECT_EQ(first_pause(100, 0.5), milliseconds(500));
  EXPECT_EQ(first_pause(1000, 0.5), milliseconds(5000));
  EXPECT_EQ(first_pause(5000, 0.5), milliseconds(5000));
}

TEST(StaleAddresses, OfBeforeABootAndOfOthersSandboxesAreForgotten) {
  const auto ips_after = [](bool of_this_boot) {
    auto events = test::events_of({pod("here").node("n1").ip("10.0.0.1"), pod("there").node("n2").ip("10.0.0.2"),
                                   pod("host").node("n1").ip("192.0.2.1").host_network(),
                                   pod("moved").node("n2").ip("10.0.0.9").ip("fd00::9"), ns("shop")});
    forget_stale_addresses(events, "n1", of_this_boot, [](const auto& ip) { return ip == test::ip("10.0.0.9"); });
    std::vector<std::size_t> counts;
    for (const auto& event : events) {
      const auto* made = std::get_if<api::Pod>(&std::get<store::Upsert>(event).object);
      if (made != nullptr) counts.push_back(made->ips.size());
    }
    return counts;
  };
  EXPECT_EQ(ips_after(true), (std::vector<std::size_t>{1, 1, 1, 1}));
  EXPECT_EQ(ips_after(false), (std::vector<std::size_t>{0, 1, 1, 1}));
}

}  // namespace
}  // namespace podfence::agent
