// The helper that other tests trust: a failure inside the namespace must come out.
#include "tests/support/netns.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace podfence::test {
namespace {

TEST(Netns, SucceedsWhenTheBodyDoes) {
  EXPECT_TRUE(in_new_netns([] { EXPECT_EQ(run("true").status, 0); }));
}

TEST(Netns, GivesTheTextOfAFailedAssertion) {
  const auto result = in_new_netns([] { EXPECT_EQ(run("echo seen; false").output, "expected\n"); });
  EXPECT_FALSE(result);
  EXPECT_NE(std::string(result.message()).find("expected"), std::string::npos) << result.message();
  EXPECT_NE(std::string(result.message()).find("netns_test.cpp"), std::string::npos) << result.message();
}

TEST(Netns, FailsWhenTheBodyDies) {
  EXPECT_FALSE(in_new_netns([] { std::abort(); }));
  EXPECT_FALSE(in_new_netns([] { std::_Exit(3); }));
}

TEST(Netns, HasNothingButLoopback) {
  EXPECT_TRUE(in_new_netns([] {
    EXPECT_EQ(run("ip -o link show | wc -l").output, "1\n");
    EXPECT_EQ(run("ip -o link show lo up | wc -l").output, "1\n");
    EXPECT_EQ(run("nft list ruleset").output, "");
  }));
}

}  // namespace
}  // namespace podfence::test
