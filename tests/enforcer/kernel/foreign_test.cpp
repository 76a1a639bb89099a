// Other processes and our table, other tables and we.
#include <gtest/gtest.h>
#include <poll.h>

#include "enforcer/kernel/watch.h"
#include "policy/program/print.h"
#include "tests/enforcer/kernel/worlds.h"

namespace podfence::kernel {
namespace {

using program::Program;

/// The watcher's news within a second.
Watch::News news_of(Watch& watch) {
  pollfd waiting{watch.fd(), POLLIN, 0};
  ::poll(&waiting, 1, 1000);
  const auto news = watch.drain();
  EXPECT_TRUE(news) << news.error().what();
  return news ? *news : Watch::News{};
}

TEST(NftKernel, TouchesNoOtherTable) {
  EXPECT_TRUE(test::in_new_netns([] {
    const std::string foreign =
        "table inet host {\n set s { type ipv4_addr; elements = { 10.0.0.1, 10.0.0.2 }; }\n"
        " chain c {\n type filter hook forward priority 0; policy accept;\n ip saddr @s counter accept\n }\n}\n"
        "table ip podfence {\n chain c {\n ip saddr 10.0.0.1 drop\n }\n}\n";
    ASSERT_EQ(test::run_with_input("nft -f -", foreign).status, 0);
    const std::string show = "nft list table inet host; nft list table ip podfence";
    const std::string before = test::run(show).output;
    auto kernel = open_kernel();
    ASSERT_TRUE(kernel);
    const Program program = wide_program(500);
    ASSERT_TRUE(committed(*kernel, diff::install_of(program)));
    ASSERT_TRUE(committed(*kernel, diff::changes_between(program, {})));
    ASSERT_TRUE(committed(*kernel, diff::install_of(program)));
    EXPECT_TRUE(holds(*kernel, program));
    EXPECT_EQ(test::run(show).output, before);
    ASSERT_TRUE(kernel->purge());
    EXPECT_EQ(test::run("nft list tables").output, "table inet host\ntable ip podfence\n");
    EXPECT_EQ(test::run(show).output, before);
    EXPECT_FALSE(kernel->read()->present);
  }));
}

TEST(NftKernel, ReplacesAnotherLayoutInOneTransaction) {
  EXPECT_TRUE(test::in_new_netns([] {
    const std::string old =
        "table inet podfence {\n set old_peers { type ipv4_addr; elements = { 10.0.0.1 }; }\n"
        " map in_peer4 { type ipv4_addr : mark; elements = { 10.0.0.1 : 7 }; }\n"
        " chain old {\n ip saddr @old_peers drop\n }\n"
        " chain forward {\n type filter hook forward priority 5; policy drop;\n jump old\n }\n}\n";
    ASSERT_EQ(test::run_with_input("nft -f -", old).status, 0);
    auto kernel = open_kernel();
    ASSERT_TRUE(kernel);
    auto watch = Watch::open(0);  // hears our commits too
    ASSERT_TRUE(watch);
    const auto read = kernel->read();
    ASSERT_TRUE(read) << read.error().what();
    EXPECT_TRUE(read->present);
    EXPECT_FALSE(read->intact);
    EXPECT_NE(read->why, "");

    const Program program = wide_program(100);
    ASSERT_TRUE(committed(*kernel, diff::install_of(program)));
    EXPECT_TRUE(holds(*kernel, program));
    EXPECT_EQ(test::run("nft list table inet podfence | grep -c old").output, "0\n");
    EXPECT_TRUE(news_of(*watch).changed);
  }));
}

TEST(NftKernel, ReplacesWhateverIsBehindItsHook) {
  EXPECT_TRUE(test::in_new_netns([] {
    auto kernel = open_kernel();
    ASSERT_TRUE(kernel);
    const Program program = wide_program(100);
    ASSERT_TRUE(committed(*kernel, diff::install_of(program)));
    const auto objects = [] { return test::run("nft -s list table inet podfence | grep -c '{$'").output; };
    const auto handle = [] { return test::run("nft -a list table inet podfence | grep -m1 'chain forward'").output; };
    const auto all = objects();
    const auto hook = handle();
    for (const std::string foreign :
         {"add set inet podfence a { type ipv4_addr; elements = { 10.0.0.1 }; }",
          "add map inet podfence v { type ipv4_addr : verdict; elements = { 10.0.0.1 : jump denied_in4, 10.0.0.2 : "
          "drop }; }",
          "add chain inet podfence c; add rule inet podfence c ip saddr { 10.0.0.1, 10.0.0.2 } drop; "
          "add rule inet podfence c ip saddr vmap { 10.0.0.1 : jump denied_in4 }",
          "add chain inet podfence c { type filter hook input priority 5; policy drop; }",
          "add counter inet podfence n; insert rule inet podfence forward counter name n jump denied_in6",
          "flush chain inet podfence forward; flush chain inet podfence judge4", "flush set inet podfence known4",
          "add counter inet podfence denied_by_in",
          "flush table inet podfence; delete set inet podfence known4; delete chain inet podfence judge6"}) {
      const auto done = test::run("nft '" + foreign + "'");
      ASSERT_EQ(done.status, 0) << foreign << ": " << done.output;
      ASSERT_TRUE(committed(*kernel, diff::install_of(program))) << foreign;
      EXPECT_TRUE(holds(*kernel, program)) << foreign;
      EXPECT_EQ(objects(), all) << foreign;
      EXPECT_EQ(handle(), hook) << "packets never met two tables: " << foreign;
    }
    // What cannot stay goes with the table.
    for (const std::string foreign :
         {"add quota inet podfence q { over 1 mbytes; }", "add table inet podfence { flags dormant; }",
          "delete table inet podfence; add table inet podfence; "
          "add chain inet podfence forward { type filter hook forward priority 5; policy drop; }"}) {
      const auto done = test::run("nft '" + foreign + "'");
      ASSERT_EQ(done.status, 0) << foreign << ": " << done.output;
      ASSERT_TRUE(committed(*kernel, diff::install_of(program))) << foreign;
      EXPECT_TRUE(holds(*kernel, program)) << foreign;
      EXPECT_EQ(objects(), all) << foreign;
    }
  }));
}

TEST(NftKernel, TellsWhatIsNotIntact) {
  EXPECT_TRUE(test::in_new_netns([] {
    const std::vector<std::pair<std::string, std::string>> cases{
        {"nft add set inet podfence foreign { type ipv4_addr\\; }", "set foreign is not ours"},
        {"nft add chain inet podfence foreign", "chain foreign is not ours"},
        {"nft add rule inet podfence forward accept", "chain forward has"},
        {"nft insert rule inet podfence ingress4 accept", "chain ingress4 has"},
        {"nft flush chain inet podfence forward", "chain forward has 0 rules"},
        {"nft flush table inet podfence", "has 0 rules"},
        {"nft add table inet podfence { flags dormant\\; }", "dormant"},
        {"nft add chain inet podfence forward { policy drop\\; }", "another hook"},
        {"h=$(nft -a list chain inet podfence forward | sed -n 's/.*icmpv6.*handle //p'); "
         "nft replace rule inet podfence forward handle $h icmpv6 type 133-136 accept",
         "chain forward: rule 3 is another one"},
        {"nft add element inet podfence self4 { 10.0.0.1 . 10.0.0.2 }", "self4 has elements that are not ours"},
    };
    auto kernel = open_kernel();
    ASSERT_TRUE(kernel);
    const Program program = wide_program(50);
    for (const auto& [command, why] : cases) {
      ASSERT_TRUE(committed(*kernel, diff::install_of(program)));
      ASSERT_TRUE(holds(*kernel, program));
      const auto ran = test::run(command);
      ASSERT_EQ(ran.status, 0) << command << "\n" << ran.output;
      const auto read = kernel->read();
      ASSERT_TRUE(read) << read.error().what();
      EXPECT_TRUE(read->present);
      EXPECT_FALSE(read->intact) << command;
      EXPECT_NE(read->why.find(why), std::string::npos) << command << ": " << read->why;
    }
    ASSERT_TRUE(committed(*kernel, diff::install_of(program)));
    EXPECT_TRUE(holds(*kernel, program));
  }));
}

TEST(NftKernel, ForeignElementsAreADifferenceThatDiffMends) {
  EXPECT_TRUE(test::in_new_netns([] {
    auto kernel = open_kernel();
    ASSERT_TRUE(kernel);
    const Program program = wide_program(50);
    ASSERT_TRUE(committed(*kernel, diff::install_of(program)));
    ASSERT_EQ(test::run("nft delete element inet podfence in_peer4 { 10.0.0.3 } && nft add element inet podfence "
                        "in_all_any4 { 10.0.0.9 } && nft add element inet podfence in_cidr4 { 172.16.0.0/12 : 1:5 }")
                  .status,
              0);
    const auto read = kernel->read();
    ASSERT_TRUE(read) << read.error().what();
    ASSERT_TRUE(read->intact) << read->why;
    const auto changes = diff::changes_between(read->program, program);
    EXPECT_EQ(changes.operations(), 3U) << diff::text_of(changes);
    ASSERT_TRUE(committed(*kernel, changes)) << diff::text_of(changes);
    EXPECT_TRUE(holds(*kernel, program));
  }));
}

TEST(NftKernel, IsInstalledAgainAfterAForeignFlush) {
  EXPECT_TRUE(test::in_new_netns([] {
    auto kernel = open_kernel();
    ASSERT_TRUE(kernel);
    auto watch = Watch::open(kernel->port_id());
    ASSERT_TRUE(watch);
    const Program program = wide_program(50);
    for (const char* command : {"nft flush ruleset", "nft delete table inet podfence"}) {
      ASSERT_TRUE(committed(*kernel, diff::install_of(program)));
      EXPECT_FALSE(watch->drain()->changed);
      ASSERT_EQ(test::run(command).status, 0);
      const auto news = news_of(*watch);
      EXPECT_TRUE(news.changed);
      EXPECT_NE(news.by.find("nft (process "), std::string::npos) << news.by;
      EXPECT_FALSE(kernel->read()->present);
      EXPECT_FALSE(kernel->commit(diff::changes_between(program, {})));
    }
  }));
}

TEST(Watch, PassesOverOurCommitsAndForeignTables) {
  EXPECT_TRUE(test::in_new_netns([] {
    auto kernel = open_kernel();
    ASSERT_TRUE(kernel);
    auto watch = Watch::open(kernel->port_id());
    ASSERT_TRUE(watch) << watch.error().what();
    // More notifications than any buffer holds.
    ASSERT_TRUE(committed(*kernel, diff::install_of(wide_program(60000))));
    ASSERT_EQ(test::run("nft add table inet host; nft add chain inet host c; nft add table ip podfence").status, 0);
    EXPECT_FALSE(news_of(*watch).changed);
    ASSERT_EQ(test::run("nft add element inet podfence known4 { 10.0.0.1 }").status, 0);
    EXPECT_TRUE(news_of(*watch).changed);
    EXPECT_FALSE(watch->drain()->changed);
  }));
}

TEST(Watch, TakesLostNotificationsForAChange) {
  EXPECT_TRUE(test::in_new_netns([] {
    auto kernel = open_kernel();
    ASSERT_TRUE(kernel);
    auto watch = Watch::open(0);  // as if our commits were another's
    ASSERT_TRUE(watch);
    ASSERT_TRUE(committed(*kernel, diff::install_of(wide_program(60000))));
    EXPECT_TRUE(watch->drain()->changed);
    EXPECT_FALSE(watch->drain()->changed);
  }));
}

}  // namespace
}  // namespace podfence::kernel
