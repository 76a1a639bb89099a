// The table of observed flows in the kernel: written, taken over, and what somebody else does to it.
#include "enforcer/observe/observe_table.h"

#include <gtest/gtest.h>

#include "policy/program/print.h"
#include "tests/support/netns.h"

namespace podfence::observe {
namespace {

using namespace net::literals;
using Addresses = std::vector<net::IpAddr>;

const Addresses pods{"10.0.0.1"_ip, "10.0.0.2"_ip, "fd00::1"_ip};

std::string listed() {
  return test::run("nft -s list table inet podfence_observe").output;
}

ObserveTable opened() {
  auto table = ObserveTable::open({});
  EXPECT_TRUE(table) << table.error().what();
  return std::move(*table);
}

std::string damage(ObserveTable& table, const Addresses& addresses) {
  const auto found = table.damage(addresses);
  return found ? *found : "error: " + found.error().what();
}

TEST(ObserveTable, IsWhatIsPrintedAndWhole) {
  EXPECT_TRUE(test::in_new_netns([] {
    auto table = opened();
    EXPECT_NE(damage(table, {}), "") << "there is none yet";
    for (const auto& addresses : {pods, Addresses{}, Addresses{"10.0.0.2"_ip}}) {
      const auto set = table.set(addresses);
      ASSERT_TRUE(set) << set.error().what();
      const auto text = test::run("nft list table inet podfence_observe").output;
      EXPECT_EQ(text, program::print_observe({}, addresses));
      EXPECT_EQ(damage(table, addresses), "");
    }
    EXPECT_NE(damage(table, pods), "") << "of other addresses";
  }));
}

TEST(ObserveTable, WhatSomebodyElseDoesToItIsSeenAndMended) {
  EXPECT_TRUE(test::in_new_netns([] {
    auto table = opened();
    ASSERT_TRUE(table.set(pods));
    const auto whole = listed();
    for (const auto& change :
         {"nft flush ruleset", "nft delete table inet podfence_observe", "nft flush table inet podfence_observe",
          "nft flush chain inet podfence_observe allowed_in4", "nft flush set inet podfence_observe observed6",
          "nft add element inet podfence_observe observed4 { 10.0.0.9 }",
          "nft delete element inet podfence_observe observed4 { 10.0.0.2 }",
          "nft insert rule inet podfence_observe first drop", "nft add rule inet podfence_observe observe_limit accept",
          "nft flush chain inet podfence_observe observe; nft delete chain inet podfence_observe observe"}) {
      const auto changed = test::run(change);
      ASSERT_EQ(changed.status, 0) << changed.output;
      EXPECT_NE(damage(table, pods), "") << change;
      const auto mended = table.set(pods);
      ASSERT_TRUE(mended) << change << ": " << mended.error().what();
      EXPECT_EQ(damage(table, pods), "") << change;
      EXPECT_EQ(listed(), whole) << change;
    }
  }));
}

TEST(ObserveTable, OtherTablesAndOtherChainsAreNobodysBusiness) {
  EXPECT_TRUE(test::in_new_netns([] {
    auto table = opened();
    ASSERT_TRUE(table.set(pods));
    const std::string others =
        "table inet host {\n chain first {\n drop\n }\n chain observe {\n type filter hook forward priority 1;\n }\n}\n"
        "table ip podfence_observe {\n chain first {\n drop\n }\n}\n";
    ASSERT_EQ(test::run_with_input("nft -f -", others).status, 0);
    EXPECT_EQ(damage(table, pods), "");
  }));
}

}  // namespace
}  // namespace podfence::observe
