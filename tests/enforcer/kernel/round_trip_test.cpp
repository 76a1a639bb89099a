// What is committed is what is read back.
#include <gtest/gtest.h>

#include "policy/program/print.h"
#include "tests/enforcer/kernel/worlds.h"

namespace podfence::kernel {
namespace {

using net::Direction;
using net::Family;
using program::Element;
using program::Program;
using program::SetId;
using program::Shape;

TEST(NftKernel, HasNoTableBeforeTheFirstInstall) {
  EXPECT_TRUE(test::in_new_netns([] {
    auto kernel = open_kernel();
    ASSERT_TRUE(kernel);
    const auto read = kernel->read();
    ASSERT_TRUE(read) << read.error().what();
    EXPECT_FALSE(read->present);
    EXPECT_TRUE(committed(*kernel, {}));
    EXPECT_EQ(test::run("nft list ruleset").output, "");
    EXPECT_TRUE(kernel->purge());
  }));
}

TEST(NftKernel, GivesBackRandomProgramsAndEveryChangeBetweenThem) {
  std::mt19937_64 random(test::test_seed());
  EXPECT_TRUE(test::in_new_netns([&] {
    auto kernel = open_kernel();
    ASSERT_TRUE(kernel);
    Program now = test::random_program(random, 30);
    ASSERT_TRUE(committed(*kernel, diff::install_of(now)));
    ASSERT_TRUE(holds(*kernel, now));
    for (int round = 0; round < 60; ++round) {
      Program next = test::random_program(random, 30);
      const auto changes = diff::changes_between(now, next);
      ASSERT_TRUE(committed(*kernel, changes)) << "round " << round;
      ASSERT_TRUE(holds(*kernel, next)) << "round " << round;
      now = std::move(next);
    }
    // Nothing to write when nothing differs.
    EXPECT_TRUE(diff::changes_between(kernel->read()->program, now).empty());
  }));
}

TEST(NftKernel, GivesBackTheOptionsOfItsRules) {
  EXPECT_TRUE(test::in_new_netns([] {
    auto kernel = open_kernel();
    ASSERT_TRUE(kernel);
    for (const std::uint8_t bit : std::vector<std::uint8_t>{0, 31, 32, 63, 64, 127}) {
      Program program;
      program.options = {static_cast<std::uint16_t>(1U + bit), bit, 7U + bit, 4000U + bit};
      ASSERT_TRUE(committed(*kernel, diff::install_of(program)));
      EXPECT_TRUE(holds(*kernel, program));
      const std::string listing = test::run("nft list chain inet podfence forward").output;
      EXPECT_NE(listing.find("ct label " + std::to_string(bit) + " "), std::string::npos) << listing;
    }
  }));
}

TEST(NftKernel, KeepsRangesAtTheEdges) {  // B-18
  const SetId v4{Shape::cidr_class, Direction::ingress, Family::ipv4};
  const SetId v6{Shape::cidr_class, Direction::egress, Family::ipv6};
  const auto top6 = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"_ip;
  const std::vector<std::vector<Element>> four{
      {{"0.0.0.0"_ip, "255.255.255.255"_ip, 0x10000, {}, {}}},
      {{"0.0.0.0"_ip, "9.255.255.255"_ip, 0x10000, {}, {}}, {"10.0.0.0"_ip, "255.255.255.255"_ip, 0x10001, {}, {}}},
      {{"0.0.0.0"_ip, "0.0.0.0"_ip, 0x10000, {}, {}}, {"255.255.255.255"_ip, "255.255.255.255"_ip, 0x10000, {}, {}}},
      {{"10.0.0.0"_ip, "10.0.0.0"_ip, 0x10000, {}, {}},
       {"10.0.0.1"_ip, "10.0.0.1"_ip, 0x10001, {}, {}},
       {"10.0.0.2"_ip, "10.0.0.9"_ip, 0x10002, {}, {}}},
      {{"0.0.0.1"_ip, "255.255.255.254"_ip, 0x10000, {}, {}}},
      {},
  };
  const std::vector<std::vector<Element>> six{
      {{"::"_ip, top6, 0x10000, {}, {}}},
      {{"::"_ip, "fcff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"_ip, 0x10000, {}, {}}, {"fd00::"_ip, top6, 0x10001, {}, {}}},
      {{"::"_ip, "::"_ip, 0x10000, {}, {}}, {top6, top6, 0x10000, {}, {}}},
      {{"fd00::1"_ip, "fd00::1"_ip, 0x10000, {}, {}}, {"fd00::2"_ip, "fd00::ffff"_ip, 0x10001, {}, {}}},
      {{"::1"_ip, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe"_ip, 0x10000, {}, {}}},
      {},
  };
  EXPECT_TRUE(test::in_new_netns([&] {
    auto kernel = open_kernel();
    ASSERT_TRUE(kernel);
    Program now;
    ASSERT_TRUE(committed(*kernel, diff::install_of(now)));
    // From every case to every other.
    for (std::size_t from = 0; from < four.size(); ++from) {
      for (std::size_t to = 0; to < four.size(); ++to) {
        for (const std::size_t step : {from, to}) {
          Program next;
          next.at(v4) = four[step];
          next.at(v6) = six[step];
          ASSERT_TRUE(committed(*kernel, diff::changes_between(now, next))) << from << " to " << to;
          ASSERT_TRUE(holds(*kernel, next)) << from << " to " << to;
          now = std::move(next);
        }
      }
    }
  }));
}

TEST(NftKernel, ChangesTheClassOfAPeerInOneCommit) {
  EXPECT_TRUE(test::in_new_netns([] {
    auto kernel = open_kernel();
    ASSERT_TRUE(kernel);
    const auto before = wide_program(1000);
    auto after = before;
    for (auto& peer : after.at({Shape::peer_class, Direction::ingress, Family::ipv4})) peer.class_id += 1000;
    ASSERT_TRUE(committed(*kernel, diff::install_of(before)));
    ASSERT_TRUE(committed(*kernel, diff::changes_between(before, after)));
    EXPECT_TRUE(holds(*kernel, after));
  }));
}

TEST(NftKernel, GivesBackAHundredThousandPods) {
  EXPECT_TRUE(test::in_new_netns([] {
    auto kernel = open_kernel();
    ASSERT_TRUE(kernel);
    const auto program = wide_program(100000);
    ASSERT_GT(program.element_count(), 130000U);
    ASSERT_TRUE(committed(*kernel, diff::install_of(program)));
    ASSERT_TRUE(holds(*kernel, program));
    // Replaced by nothing in one transaction.
    ASSERT_TRUE(committed(*kernel, diff::changes_between(program, {})));
    EXPECT_TRUE(holds(*kernel, {}));
  }));
}

TEST(NftKernel, CountersSurviveCommitsAndAReplacementBehindTheHook) {
  EXPECT_TRUE(test::in_new_netns([] {
    std::string text = program::print({});
    const std::string zero = "counter denied_in {\n\t\tpackets 0 bytes 0";
    ASSERT_NE(text.find(zero), std::string::npos);
    text.replace(text.find(zero), zero.size(), "counter denied_in {\n\t\tpackets 7 bytes 420");
    const auto loaded = test::run_with_input("nft -f -", text);
    ASSERT_EQ(loaded.status, 0) << loaded.output;

    auto kernel = open_kernel();
    ASSERT_TRUE(kernel);
    ASSERT_TRUE(committed(*kernel, diff::changes_between({}, wide_program(100))));
    auto counters = kernel->counters();
    ASSERT_TRUE(counters) << counters.error().what();
    EXPECT_EQ(counters->at("denied_in"), (Counter{7, 420}));
    ASSERT_EQ(test::run("nft add element inet podfence denied_by_in '{ 1:5 counter packets 3 bytes 180 }'").status, 0);
    ASSERT_TRUE(committed(*kernel, diff::install_of({})));
    EXPECT_EQ(kernel->counters()->at("denied_in"), (Counter{7, 420}));
    EXPECT_EQ(kernel->tallies()->size(), 1U);
    ASSERT_TRUE(kernel->purge());
    ASSERT_TRUE(committed(*kernel, diff::install_of({})));
    counters = kernel->counters();
    ASSERT_TRUE(counters) << counters.error().what();
    EXPECT_EQ(counters->size(), program::counter_names().size());
    EXPECT_TRUE(kernel->tallies()->empty());
    for (const auto& name : program::counter_names()) EXPECT_EQ(counters->at(name), Counter{}) << name;
  }));
}

}  // namespace
}  // namespace podfence::kernel
