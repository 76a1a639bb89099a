// Which watches of pods there are, as what is wanted and what is synced changes (kube.md 2.4).
#include "enforcer/reflector/pod_watches.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace podfence::reflector {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

const PodWatch cluster{};
const PodWatch local{PodWatch::Of::node, "n1"};

PodWatch in(const std::string& name) {
  return {PodWatch::Of::namespace_, name};
}

struct PodWatchesTest : testing::Test {
  PodWatches::Plan want(const std::set<PodWatch>& which) {
    wanted = which;
    return look();
  }
  PodWatches::Plan look() {
    auto plan = watches.update(
        wanted, [&](const PodWatch& watch) { return synced.contains(watch); }, now);
    for (const auto& watch : plan.drop) {
      EXPECT_TRUE(open.erase(watch)) << "only what is open is dropped";
      synced.erase(watch);
    }
    for (const auto& watch : plan.open) EXPECT_TRUE(open.insert(watch).second) << "once";
    return plan;
  }
  PodWatches::Plan sync(const PodWatch& watch) {
    EXPECT_TRUE(open.contains(watch));
    synced.insert(watch);
    return look();
  }

  PodWatches watches{10min};
  std::set<PodWatch> wanted, open, synced;
  Time now{1000h};
};

TEST_F(PodWatchesTest, opens_what_is_wanted_and_is_ready_when_it_is_synced) {
  EXPECT_THAT(want({local, in("a")}).open, ElementsAre(local, in("a")));
  EXPECT_FALSE(watches.ready());
  sync(local);
  EXPECT_FALSE(watches.ready());
  sync(in("a"));
  EXPECT_TRUE(watches.ready());
  EXPECT_FALSE(watches.deadline());
  EXPECT_THAT(want({local, in("a"), in("b")}).open, ElementsAre(in("b")));
  EXPECT_FALSE(watches.ready());
}

TEST_F(PodWatchesTest, what_is_not_wanted_stays_for_a_while) {
  want({local, in("a")});
  sync(local);
  sync(in("a"));
  EXPECT_THAT(want({local}).drop, IsEmpty());
  ASSERT_EQ(watches.deadline(), now + 10min);
  now += 9min;
  EXPECT_THAT(look().drop, IsEmpty());
  EXPECT_THAT(want({local, in("a")}).open, IsEmpty()) << "it is still there";
  EXPECT_FALSE(watches.deadline());
  want({local});
  now += 10min;
  EXPECT_THAT(look().drop, ElementsAre(in("a")));
  EXPECT_TRUE(watches.ready());
  EXPECT_FALSE(watches.deadline());
}

TEST_F(PodWatchesTest, the_whole_cluster_takes_the_place_of_all_when_it_is_synced) {
  want({local, in("a")});
  sync(local);
  sync(in("a"));
  auto plan = want({cluster});
  EXPECT_THAT(plan.open, ElementsAre(cluster));
  EXPECT_THAT(plan.drop, IsEmpty());
  EXPECT_FALSE(watches.ready());
  plan = sync(cluster);
  EXPECT_THAT(plan.drop, ElementsAre(local, in("a")));
  EXPECT_TRUE(watches.ready());
}

TEST_F(PodWatchesTest, the_whole_cluster_stays_for_a_while_and_until_all_are_synced) {
  want({cluster});
  sync(cluster);
  EXPECT_THAT(want({local, in("a")}).open, IsEmpty()) << "it shows them, too";
  EXPECT_TRUE(watches.ready());
  now += 10min;
  EXPECT_THAT(look().open, ElementsAre(local, in("a")));
  EXPECT_TRUE(watches.ready());
  EXPECT_THAT(sync(local).drop, IsEmpty());
  EXPECT_THAT(sync(in("a")).drop, ElementsAre(cluster));
  EXPECT_TRUE(watches.ready());
}

TEST_F(PodWatchesTest, a_selector_that_comes_and_goes_does_not_flap) {
  want({local, in("a")});
  sync(local);
  sync(in("a"));
  std::size_t changes = 0;
  for (int i = 0; i < 100; ++i, now += 1min) {
    auto plan = want(i % 2 == 0 ? std::set{cluster} : std::set{local, in("a")});
    changes += plan.open.size() + plan.drop.size();
    if (open.contains(cluster) && !synced.contains(cluster)) {
      plan = sync(cluster);
      changes += plan.drop.size();
    }
  }
  EXPECT_EQ(changes, 3U) << "the cluster opened, two dropped";
}

TEST_F(PodWatchesTest, a_cluster_that_was_not_yet_synced_goes_at_once) {
  want({local});
  sync(local);
  want({cluster});
  auto plan = want({local, in("a")});
  EXPECT_THAT(plan.open, ElementsAre(in("a")));
  EXPECT_THAT(plan.drop, ElementsAre(cluster));
}

}  // namespace
}  // namespace podfence::reflector
