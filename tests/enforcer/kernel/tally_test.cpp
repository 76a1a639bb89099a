// Denied packets by the number of the policies that isolate the pod. Real packets are in
// tests/e2e/policy_counters_test.py.
#include <gtest/gtest.h>

#include "tests/enforcer/kernel/worlds.h"

namespace podfence::kernel {
namespace {

using net::Direction;
using program::TallyKey;

constexpr TallyKey one{Direction::ingress, 0x10005};
constexpr TallyKey other{Direction::ingress, 0xfffffffe};
constexpr TallyKey out{Direction::egress, 0x10005};

void count(const std::string& tally, const std::string& number, int packets) {
  const auto text = "nft add element inet podfence " + tally + " '{ " + number + " counter packets " +
                    std::to_string(packets) + " bytes " + std::to_string(packets * 60) + " }'";
  const auto done = test::run(text);
  ASSERT_EQ(done.status, 0) << done.output;
}

TEST(Tally, is_read_and_forgotten_by_number) {
  EXPECT_TRUE(test::in_new_netns([] {
    auto kernel = open_kernel();
    ASSERT_TRUE(kernel);
    EXPECT_TRUE(kernel->tallies()->empty()) << "there is no table";
    ASSERT_TRUE(committed(*kernel, diff::install_of({})));
    EXPECT_TRUE(kernel->tallies()->empty());
    count("denied_by_in", "1:5", 3);
    count("denied_by_in", "ffff:fffe", 4);
    count("denied_by_out", "1:5", 5);
    const std::map<TallyKey, Counter> all{{one, {3, 180}}, {other, {4, 240}}, {out, {5, 300}}};
    EXPECT_EQ(*kernel->tallies(), all);

    const auto missing = kernel->forget_tallies({one, {Direction::egress, 0x10006}});
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().code(), Errc::not_found) << missing.error().what();
    EXPECT_EQ(*kernel->tallies(), all) << "all or none";
    ASSERT_TRUE(kernel->forget_tallies({one, out}));
    EXPECT_EQ(*kernel->tallies(), (std::map<TallyKey, Counter>{{other, {4, 240}}}));
    EXPECT_TRUE(kernel->forget_tallies({}));
  }));
}

TEST(Tally, is_no_damage_and_the_listing_reloads) {
  EXPECT_TRUE(test::in_new_netns([] {
    auto kernel = open_kernel();
    ASSERT_TRUE(kernel);
    const program::Program program = wide_program(20);
    ASSERT_TRUE(committed(*kernel, diff::install_of(program)));
    count("denied_by_in", "1:5", 3);
    EXPECT_TRUE(holds(*kernel, program));
    const auto listing = test::run("nft list ruleset").output;
    EXPECT_NE(listing.find("1:5 counter packets 3 bytes 180"), std::string::npos) << listing;
    const auto reloaded = test::run_with_input("nft flush ruleset; nft -f -", listing);
    ASSERT_EQ(reloaded.status, 0) << reloaded.output;
    EXPECT_EQ(test::run("nft list ruleset").output, listing);
    EXPECT_TRUE(holds(*kernel, program));
    EXPECT_EQ(kernel->tallies()->at(one), (Counter{3, 180}));
  }));
}

}  // namespace
}  // namespace podfence::kernel
