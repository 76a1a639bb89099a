// The table of observed flows as text.
#include "policy/program/observe.h"

#include <gtest/gtest.h>

#include "policy/program/print.h"
#include "tests/support/golden.h"
#include "tests/support/netns.h"

namespace podfence::program {
namespace {

using namespace net::literals;

const std::vector<net::IpAddr> addresses{"10.0.0.1"_ip, "10.0.0.2"_ip, "10.0.1.9"_ip, "fd00::1"_ip, "fd00::2"_ip};

TEST(Observe, IsPrintedAsGolden) {
  const std::string here = __FILE__;
  const std::string path = here.substr(0, here.rfind('/')) + "/golden/observe.nft";
  test::expect_golden(path, print_observe({}, addresses));
}

TEST(Observe, HasNoHookAndNoAddressWhileNothingIsObserved) {
  const auto text = print_observe({}, {});
  EXPECT_EQ(text.find("hook"), std::string::npos);
  EXPECT_EQ(text.find("elements"), std::string::npos);
  EXPECT_NE(text.find("counter observed_in"), std::string::npos) << "a part of the account";
}

TEST(Observe, NftTakesTheTextAndListsItAgain) {
  EXPECT_TRUE(test::in_new_netns([] {
    for (const auto& observed : {addresses, std::vector<net::IpAddr>{}}) {
      const auto text = print_observe({4711, 5, 50}, observed);
      const auto loaded = test::run_with_input("nft -f -", text);
      ASSERT_EQ(loaded.status, 0) << loaded.output;
      EXPECT_EQ(test::run("nft list table inet podfence_observe").output, text);
      EXPECT_EQ(test::run("nft delete table inet podfence_observe").status, 0);
    }
  }));
}

TEST(Observe, HasNoVerdictButAccept) {
  const auto text = print_observe({}, addresses);
  EXPECT_EQ(text.find("drop"), std::string::npos);
  EXPECT_EQ(text.find("reject"), std::string::npos);
}

}  // namespace
}  // namespace podfence::program
