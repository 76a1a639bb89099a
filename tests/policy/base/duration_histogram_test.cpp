// Buckets of durations.
#include "policy/base/duration_histogram.h"

#include <gtest/gtest.h>

namespace podfence {
namespace {

using namespace std::literals;
using Counts = std::vector<std::uint64_t>;

TEST(DurationHistogram, counts_a_bound_as_its_own) {
  DurationHistogram h({0.0001, 0.00025, 10});
  for (const auto d : {0us, 100us, 101us, 250us, 10'000'000us, 10'000'001us}) h.add(d);
  EXPECT_EQ(h.counts(), (Counts{2, 2, 1, 1}));
  EXPECT_NEAR(h.sum_seconds(), 20.000452, 1e-9);
}

TEST(DurationHistogram, counts_what_a_clock_that_was_set_back_says_as_nothing) {
  DurationHistogram h({1});
  h.add(-5s);
  EXPECT_EQ(h.counts(), (Counts{1, 0}));
  EXPECT_EQ(h.sum_seconds(), 0);
}

}  // namespace
}  // namespace podfence
