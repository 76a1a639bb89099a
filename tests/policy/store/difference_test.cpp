#include "policy/store/difference.h"

#include <gtest/gtest.h>

#include "tests/support/builders.h"
#include "tests/support/random_world.h"

namespace podfence::store {
namespace {

TEST(Difference, IsNothingOfTheSame) {
  const auto one = test::cluster_of({test::ns("shop"), test::pod("a"), test::policy("p")});
  EXPECT_TRUE(difference(one, one).empty());
}

TEST(Difference, LeavesOutWhatIsAlike) {
  const auto before = test::cluster_of({test::ns("shop"), test::pod("a"), test::pod("b")});
  const auto after = test::cluster_of({test::ns("shop"), test::pod("b"), test::pod("c")});
  const auto events = difference(before, after);
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(std::get<Remove>(events[0]).key.text(), "Pod default/a");
  EXPECT_EQ(key_of(events[1]).text(), "Pod default/c");
}

TEST(Difference, LeadsFromAnyClusterToAnyOther) {
  const auto seed = test::seed_of_run();
  SCOPED_TRACE("PODFENCE_SEED=" + std::to_string(seed));
  test::Random random(seed);
  for (std::size_t i = test::count_from_env("PODFENCE_WORLDS", 500); i > 0; --i) {
    const auto from = test::cluster_of(test::random_world(random));
    const auto to = test::cluster_of(test::random_world(random));
    auto reached = from;
    for (auto& event : difference(from, to)) EXPECT_TRUE(reached.apply(std::move(event)));
    ASSERT_TRUE(reached == to);
  }
}

}  // namespace
}  // namespace podfence::store
