// Denied packets by policy: what the kernel counted under sets of policies, over all sets, tables and agents.
#include "enforcer/flow/policy_account.h"

#include <gtest/gtest.h>

#include <fstream>
#include <random>

#include "enforcer/flow/policy_account_file.h"
#include "tests/enforcer/flow/files.h"
#include "tests/policy/program/random_program.h"

namespace podfence::flow {
namespace {

using namespace std::literals;
using net::Direction;

constexpr TimePoint start{1'700'000'000s};
const store::NamespacedName p{"shop", "p"};
const store::NamespacedName q{"shop", "q"};
const program::TallyKey only_p{Direction::ingress, 70'001};
const program::TallyKey both{Direction::ingress, 70'002};
const program::TallyKey out{Direction::egress, 70'001};

std::uint64_t packets(const PolicyAccount& account, Direction direction, const store::NamespacedName& policy) {
  const auto totals = account.totals();
  const auto found = totals.find({direction, policy});
  return found == totals.end() ? 0 : found->second.packets;
}

TEST(PolicyAccount, a_packet_counts_for_each_policy_of_the_set) {
  PolicyAccount account;
  EXPECT_TRUE(account.use({{only_p, {p}}, {both, {p, q}}, {out, {q}}}, start)) << "names are to be saved";
  EXPECT_FALSE(account.use({{only_p, {p}}, {both, {p, q}}, {out, {q}}}, start));
  account.sample({{only_p, {3, 90}}, {both, {5, 500}}, {out, {7, 700}}}, "1");
  EXPECT_EQ(account.totals().at({Direction::ingress, p}), (Traffic{8, 590}));
  EXPECT_EQ(account.totals().at({Direction::ingress, q}), (Traffic{5, 500}));
  EXPECT_EQ(account.totals().at({Direction::egress, q}), (Traffic{7, 700}));
}

TEST(PolicyAccount, a_policy_that_denied_nothing_shows_as_zero) {
  PolicyAccount account;
  account.use({{only_p, {p}}}, start);
  EXPECT_EQ(account.totals().at({Direction::ingress, p}), Traffic{});
}

TEST(PolicyAccount, a_set_out_of_use_leaves_its_count_to_its_policies) {
  PolicyAccount account;
  account.use({{both, {p, q}}}, start);
  account.sample({{both, {5, 500}}}, "1");
  account.use({{only_p, {p}}}, start + 1s);
  EXPECT_TRUE(account.has_idle());
  EXPECT_TRUE(account.retire(start + 1s).empty()) << "packets may be on their way through the rules";
  account.sample({{both, {6, 600}}, {only_p, {1, 10}}}, "1");
  EXPECT_EQ(account.retire(start + 2s), (std::vector{both}));
  EXPECT_FALSE(account.has_idle());
  EXPECT_EQ(packets(account, Direction::ingress, p), 7U);
  EXPECT_EQ(packets(account, Direction::ingress, q), 6U);
  EXPECT_EQ(account.unknown({{both, {6, 600}}, {only_p, {1, 10}}}), (std::vector{both})) << "to be deleted";

  account.use({{both, {p, q}}}, start + 3s);  // and comes back, from 0
  account.sample({{both, {2, 200}}, {only_p, {1, 10}}}, "1");
  EXPECT_EQ(packets(account, Direction::ingress, p), 9U);
}

TEST(PolicyAccount, a_set_that_comes_back_in_time_is_not_retired) {
  PolicyAccount account;
  account.use({{both, {p, q}}}, start);
  account.use({{only_p, {p}}}, start);
  account.use({{both, {p, q}}}, start);
  EXPECT_EQ(account.retire(start + 1h), (std::vector{only_p}));
}

TEST(PolicyAccount, another_table_begins_at_zero_and_the_totals_go_on) {
  PolicyAccount account;
  account.use({{only_p, {p}}}, start);
  EXPECT_TRUE(account.sample({{only_p, {5, 50}}}, "1")) << "the epoch is to be saved";
  EXPECT_FALSE(account.sample({{only_p, {6, 60}}}, "1"));
  EXPECT_TRUE(account.sample({{only_p, {9, 90}}}, "2"));
  EXPECT_EQ(packets(account, Direction::ingress, p), 15U);
  account.sample({}, "");
  account.sample({{only_p, {2, 20}}}, "");
  account.sample({{only_p, {1, 10}}}, "");  // the count tells where the epoch does not
  EXPECT_EQ(packets(account, Direction::ingress, p), 18U);
}

TEST(PolicyAccount, a_moment_without_an_epoch_counts_nothing_twice) {
  PolicyAccount account;
  account.use({{only_p, {p}}}, start);
  account.sample({{only_p, {5, 50}}}, "");
  EXPECT_TRUE(account.sample({{only_p, {5, 50}}}, "1"));
  EXPECT_FALSE(account.sample({{only_p, {6, 60}}}, ""));
  EXPECT_EQ(packets(account, Direction::ingress, p), 6U);
  EXPECT_FALSE(account.sample({{only_p, {7, 70}}}, "1"));
  EXPECT_EQ(packets(account, Direction::ingress, p), 7U);
}

TEST(PolicyAccount, series_of_a_deleted_policy_go_after_a_while) {
  PolicyAccount account;
  account.use({{both, {p, q}}}, start);
  account.sample({{both, {5, 500}}}, "1");
  account.use({}, start);
  account.retire(start + 1s);
  std::map<store::NamespacedName, api::NetworkPolicy> policies;
  policies[p] = {};
  EXPECT_FALSE(account.prune(policies, start + 1s));
  EXPECT_FALSE(account.prune(policies, start + 5min));
  EXPECT_EQ(packets(account, Direction::ingress, q), 5U);
  EXPECT_TRUE(account.prune(policies, start + 5min + 1s));
  EXPECT_EQ(account.totals().count({Direction::ingress, q}), 0U);
  EXPECT_EQ(packets(account, Direction::ingress, p), 5U) << "it is there, and only selects nobody";

  policies.clear();
  account.prune(policies, start + 10min);
  policies[p] = {};
  account.prune(policies, start + 14min);
  policies.clear();
  EXPECT_FALSE(account.prune(policies, start + 16min)) << "it had come back meanwhile";
}

TEST(PolicyAccountFile, gives_back_what_was_saved) {
  const test::Directory directory;
  EXPECT_EQ(*load_policy_account(directory.file("none.json")), std::nullopt);
  PolicyAccountState state;
  state.epoch = "boot:4026531840:7";
  state.sets[only_p] = {{p}, {1, 2}, {~std::uint64_t{0}, 4}};
  state.sets[out] = {{p, q}, {}, {5, 6}};
  state.retired[{Direction::egress, {"a", "b\n\"c"}}] = {7, 8};
  ASSERT_TRUE(save_policy_account(directory.file("state"), "account.json", state));
  const auto back = load_policy_account(directory.file("state/account.json"));
  ASSERT_TRUE(back && *back) << back.error().what();
  EXPECT_EQ(**back, state);
}

TEST(PolicyAccountFile, what_is_not_to_be_understood_is_an_error_that_names_the_file) {
  const test::Directory directory;
  PolicyAccountState state;
  state.sets[both] = {{p, q}, {1, 2}, {3, 4}};
  state.retired[{Direction::ingress, p}] = {7, 8};
  ASSERT_TRUE(save_policy_account(directory.file("state"), "account.json", state));
  const auto good = test::content(directory.file("state/account.json"));
  const auto file = directory.file("bad.json");
  for (std::size_t size = 0; size + 2 < good.size(); ++size) {
    std::ofstream(file) << good.substr(0, size);
    const auto loaded = load_policy_account(file);
    ASSERT_FALSE(loaded) << size;
    EXPECT_NE(loaded.error().what().find(file), std::string::npos);
  }
  for (const auto& [from, to] :
       std::vector<std::pair<std::string, std::string>>{{"\"ingress\"", "\"sideways\""},
                                                        {"70002", "4294967296"},
                                                        {"70002", "-1"},
                                                        {"[\"shop\",\"q\"]", "[\"shop\"]"},
                                                        {"/v1", "/v2"},
                                                        {"\"packets\":3", "\"packets\":\"3\""}}) {
    auto bad = good;
    ASSERT_NE(bad.find(from), std::string::npos) << from;
    bad.replace(bad.find(from), from.size(), to);
    std::ofstream(file) << bad;
    EXPECT_FALSE(load_policy_account(file)) << bad;
  }
}

/// The kernel's side, in the plainest way: every packet is counted under the set of its moment.
TEST(PolicyAccount, any_history_of_sets_tables_and_agents_counts_each_packet_once) {
  const auto seed = ::podfence::test::test_seed();
  std::mt19937_64 random(seed);
  const std::map<program::TallyKey, std::vector<store::NamespacedName>> all{
      {{Direction::ingress, 80'000}, {p}}, {{Direction::ingress, 80'001}, {q}}, {{Direction::ingress, 80'002}, {p, q}}};
  for (int history = 0; history < 300; ++history) {
    PolicyAccount account;
    PolicyAccountState saved;
    Tallies kernel;
    std::map<store::NamespacedName, std::uint64_t> expected{{p, 0}, {q, 0}};
    std::uint64_t epoch = 1;
    TimePoint now = start;
    PolicySets in_use;
    const auto read = [&] {
      if (account.sample(kernel, std::to_string(epoch))) saved = account.state();
    };
    for (int step = 0; step < 60; ++step, now += 700ms) {
      switch (random() % 6) {
        case 0:  // other policies
          in_use.clear();
          for (const auto& entry : all) {
            if (random() % 2 == 0) in_use.insert(entry);
          }
          if (account.use(in_use, now)) saved = account.state();
          break;
        case 1:  // a table anew; the agent has read the old one
          read();
          kernel.clear();
          ++epoch;
          break;
        case 2:  // an agent anew
          account = PolicyAccount(saved);
          for (const auto& key : account.unknown(kernel)) kernel.erase(key);
          account.use(in_use, now);
          read();
          break;
        case 3: {
          read();
          const auto gone = account.retire(now);
          if (gone.empty()) break;
          saved = account.state();
          if (random() % 4 != 0) {  // or it crashes here
            for (const auto& key : gone) kernel.erase(key);
          } else {
            account = PolicyAccount(saved);
            for (const auto& key : account.unknown(kernel)) kernel.erase(key);
            account.use(in_use, now);
          }
          break;
        }
        default:
          for (const auto& [key, policies] : in_use) {
            const std::uint64_t count = random() % 5;
            kernel[key] += {count, count * 60};
            for (const auto& policy : policies) expected[policy] += count;
          }
      }
      read();
      for (const auto& [policy, count] : expected) {
        ASSERT_EQ(packets(account, Direction::ingress, policy), count) << "seed " << seed << " step " << step;
      }
    }
  }
}

}  // namespace
}  // namespace podfence::flow
