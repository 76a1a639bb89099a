// The reconciler on a kernel that does what it is told, and on one that somebody else changes.
#include "enforcer/agent/reconciler.h"

#include <gtest/gtest.h>

#include "tests/enforcer/agent/worlds.h"

namespace podfence::agent {
namespace {

using namespace test;
using program::SetId;
using program::Shape;

const SetId isolated{Shape::isolated, net::Direction::ingress, net::Family::ipv4};
const SetId peers{Shape::peer_class, net::Direction::ingress, net::Family::ipv4};

api::Object worker(const std::string& name, const std::string& address) {
  return pod(name).ns("shop").label("app", "worker").ip(address);
}

TEST(Reconciler, writes_nothing_before_the_start) {
  FakeKernel kernel;
  Reconciler reconciler(settings(), kernel);
  reconciler.take(upserts(shop()));
  EXPECT_EQ(reconciler.verify().kind, Kind::idle);
  EXPECT_FALSE(reconciler.started());
  EXPECT_TRUE(kernel.tried().empty());
}

TEST(Reconciler, installs_into_an_empty_kernel) {
  FakeKernel kernel;
  Reconciler reconciler(settings(), kernel);
  reconciler.take(upserts(shop()));
  const auto outcome = reconciler.start();
  EXPECT_EQ(outcome.kind, Kind::committed);
  EXPECT_TRUE(outcome.installed);
  EXPECT_TRUE(outcome.may_cut_flows);
  EXPECT_EQ(outcome.repaired, 0u);
  EXPECT_TRUE(reconciler.started());
  EXPECT_TRUE(converged(kernel, reconciler));
  EXPECT_EQ(kernel.tried().size(), 1u);
}

TEST(Reconciler, installs_even_for_a_cluster_without_objects) {
  FakeKernel kernel;
  Reconciler reconciler(settings(), kernel);
  EXPECT_TRUE(reconciler.start().installed);
  EXPECT_TRUE(converged(kernel, reconciler));
}

TEST(Reconciler, starts_with_the_first_reconcile) {
  FakeKernel kernel;
  Reconciler reconciler(settings(), kernel);
  reconciler.take(upserts(shop()));
  EXPECT_TRUE(reconciler.reconcile().installed);
  EXPECT_TRUE(reconciler.started());
}

// R-08, D-24
TEST(Reconciler, R_08_a_restart_in_the_same_world_writes_nothing) {
  FakeKernel kernel;
  Reconciler before(settings(), kernel);
  auto objects = shop();
  before.take(upserts(objects));
  before.start();
  // Another order of arrival gives other class numbers.
  std::reverse(objects.begin(), objects.end());
  const auto held = *kernel.program();
  Reconciler after(settings(), kernel);
  after.take(upserts(objects));
  const auto outcome = after.start();
  EXPECT_EQ(outcome.kind, Kind::idle);
  EXPECT_EQ(outcome.operations, 0u);
  EXPECT_FALSE(outcome.installed);
  EXPECT_FALSE(outcome.may_cut_flows);
  EXPECT_TRUE(after.started());
  EXPECT_EQ(kernel.tried().size(), 1u);
  EXPECT_EQ(after.compiler().program(), held);

  after.take(upserts({worker("w", "10.0.1.7")}));
  EXPECT_EQ(after.reconcile().kind, Kind::committed);
  EXPECT_TRUE(converged(kernel, after));
}

// R-09, D-19
TEST(Reconciler, R_09_a_start_removes_what_went_while_it_was_down) {
  FakeKernel kernel;
  auto objects = shop();
  {
    Reconciler before(settings(), kernel);
    before.take(upserts(objects));
    before.start();
  }
  objects.pop_back();  // the policy
  Reconciler after(settings(), kernel);
  after.take(upserts(objects));
  const auto outcome = after.start();
  EXPECT_EQ(outcome.kind, Kind::committed);
  EXPECT_FALSE(outcome.installed);
  EXPECT_TRUE(converged(kernel, after));
  EXPECT_TRUE(kernel.program()->at(isolated).empty());
  EXPECT_FALSE(kernel.tried().back().install) << "a start is a difference, never a flush";
}

//
TEST(Reconciler, R_16_other_options_install_anew) {
  FakeKernel kernel;
  Reconciler before(settings(), kernel);
  before.take(upserts(shop()));
  before.start();
  auto other = settings();
  other.options.log_group = 7;
  Reconciler after(other, kernel);
  after.take(upserts(shop()));
  EXPECT_TRUE(after.start().installed);
  EXPECT_EQ(kernel.program()->options, other.options);
  EXPECT_TRUE(converged(kernel, after));
}

TEST(Reconciler, replaces_a_table_that_is_not_intact_at_the_start) {
  FakeKernel kernel;
  Reconciler before(settings(), kernel);
  before.take(upserts(shop()));
  before.start();
  kernel.damage("another layout");
  Reconciler after(settings(), kernel);
  after.take(upserts(shop()));
  const auto outcome = after.start();
  EXPECT_TRUE(outcome.installed);
  EXPECT_EQ(outcome.repaired, 0u) << "what stood there before the start is no drift";
  EXPECT_TRUE(kernel.read()->intact);
  EXPECT_TRUE(converged(kernel, after));
}

// D-22
TEST(Reconciler, D_22_events_in_between_become_one_commit) {
  FakeKernel kernel;
  Reconciler reconciler(settings(), kernel);
  reconciler.take(upserts(shop()));
  reconciler.start();
  for (int i = 1; i <= 50; ++i) {
    reconciler.take(upserts({worker("w" + std::to_string(i % 5), "10.0.1." + std::to_string(i))}));
    EXPECT_TRUE(reconciler.waiting());
  }
  const auto outcome = reconciler.reconcile();
  EXPECT_EQ(outcome.kind, Kind::committed);
  EXPECT_EQ(kernel.tried().size(), 2u);
  EXPECT_LT(outcome.operations, 20u) << "five workers, not fifty";
  EXPECT_FALSE(reconciler.waiting());
  EXPECT_TRUE(converged(kernel, reconciler));
}

// D-22
TEST(Reconciler, D_22_what_came_and_went_is_no_commit) {
  FakeKernel kernel;
  Reconciler reconciler(settings(), kernel);
  reconciler.take(upserts(shop()));
  reconciler.start();
  const auto one = worker("w", "10.0.1.7");
  reconciler.take(upserts({one}));
  reconciler.take(Events{store::Remove{api::key_of(one), ""}});
  EXPECT_EQ(reconciler.reconcile().kind, Kind::idle);
  EXPECT_EQ(kernel.tried().size(), 1u);
}

TEST(Reconciler, tells_when_a_flow_may_be_cut) {
  FakeKernel kernel;
  Reconciler reconciler(settings(), kernel);
  auto objects = shop();
  reconciler.take(upserts(objects));
  reconciler.start();
  reconciler.take(upserts({worker("w", "10.0.1.7")}));
  EXPECT_FALSE(reconciler.reconcile().may_cut_flows) << "a peer that comes opens only";
  reconciler.take(Events{store::Remove{api::key_of(worker("w", "10.0.1.7")), ""}});
  EXPECT_TRUE(reconciler.reconcile().may_cut_flows);
  reconciler.take(upserts({policy("cli").ns("shop").selects({{"app", "cli"}}).deny_ingress()}));
  EXPECT_TRUE(reconciler.reconcile().may_cut_flows) << "isolation that comes";
}

//
TEST(Reconciler, R_01_an_address_that_is_plugged_in_is_closed_until_its_pod_is_known) {
  FakeKernel kernel;
  Reconciler reconciler(settings(), kernel);
  reconciler.take(upserts(shop()));
  const auto early = ip("10.7.0.1");
  reconciler.attach(std::vector{early});
  EXPECT_TRUE(kernel.tried().empty()) << "nothing before the start";
  reconciler.start();
  EXPECT_TRUE(converged(kernel, reconciler));
  const SetId managed{Shape::managed, net::Direction::ingress, net::Family::ipv4};
  EXPECT_TRUE(program::holds(*kernel.program(), managed, {early, {}, 0, {}, {}}));

  const auto late = ip("10.7.0.2");
  reconciler.attach(std::vector{early, late});
  EXPECT_TRUE(reconciler.waiting());
  EXPECT_EQ(reconciler.reconcile().kind, Kind::committed);
  EXPECT_TRUE(converged(kernel, reconciler));
  EXPECT_TRUE(program::holds(*kernel.program(), managed, {late, {}, 0, {}, {}}));
  reconciler.attach({});
  EXPECT_EQ(reconciler.reconcile().kind, Kind::committed);
  EXPECT_TRUE(converged(kernel, reconciler));
  EXPECT_FALSE(program::holds(*kernel.program(), managed, {late, {}, 0, {}, {}}));
  EXPECT_EQ(kernel.tried().size(), 3u);
}

//
TEST(Reconciler, R_15_verify_mends_what_somebody_else_did) {
  struct Case {
    const char* name;
    void (*damage)(FakeKernel&);
    std::size_t repaired;  // 0: as many as the install had
  };
  const Case cases[] = {
      {"elements removed",
       [](FakeKernel& k) {
         auto program = *k.program();
         program.at(isolated).clear();
         k.replace(program);
       },
       1},
      {"elements added",
       [](FakeKernel& k) {
         auto program = *k.program();
         program.at({Shape::all_any, net::Direction::ingress, net::Family::ipv4}) = {{ip("10.0.0.1"), {}, 0, {}, {}}};
         k.replace(program);
       },
       1},
      {"data changed",
       [](FakeKernel& k) {
         auto program = *k.program();
         program.at(peers).front().class_id += 100;
         k.replace(program);
       },
       2},
      {"no table", [](FakeKernel& k) { k.lose_table(); }, 0},
      {"a foreign rule in it", [](FakeKernel& k) { k.damage("a foreign rule"); }, 0},
  };
  for (const auto& one : cases) {
    SCOPED_TRACE(one.name);
    FakeKernel kernel;
    Reconciler reconciler(settings(), kernel);
    reconciler.take(upserts(shop()));
    const auto installed = reconciler.start();
    EXPECT_EQ(reconciler.verify().kind, Kind::idle) << "nothing is wrong yet";
    one.damage(kernel);
    const auto outcome = reconciler.verify();
    EXPECT_EQ(outcome.kind, Kind::committed);
    EXPECT_EQ(outcome.repaired, one.repaired == 0 ? installed.operations : one.repaired);
    EXPECT_EQ(outcome.installed, one.repaired == 0);
    EXPECT_TRUE(kernel.read()->intact);
    EXPECT_TRUE(converged(kernel, reconciler));
    EXPECT_EQ(reconciler.verify().kind, Kind::idle) << "nothing is wrong any more";
  }
}

//
TEST(Reconciler, R_15_verify_commits_what_waits_and_counts_only_the_foreign_part) {
  FakeKernel kernel;
  Reconciler reconciler(settings(), kernel);
  reconciler.take(upserts(shop()));
  reconciler.start();
  reconciler.take(upserts({worker("w", "10.0.1.7")}));
  EXPECT_EQ(reconciler.verify().repaired, 0u);
  EXPECT_FALSE(reconciler.waiting());
  EXPECT_TRUE(converged(kernel, reconciler));

  auto program = *kernel.program();
  program.at(isolated).clear();
  kernel.replace(program);
  reconciler.take(upserts({worker("v", "10.0.1.8")}));
  const auto outcome = reconciler.verify();
  EXPECT_GT(outcome.operations, 1u);
  EXPECT_EQ(outcome.repaired, 1u);
  EXPECT_TRUE(converged(kernel, reconciler));
  EXPECT_EQ(reconciler.reconcile().kind, Kind::idle);
}

//
TEST(Reconciler, R_15_a_commit_that_meets_foreign_damage_mends_it) {
  FakeKernel kernel;
  Reconciler reconciler(settings(), kernel);
  reconciler.take(upserts(shop()));
  reconciler.start();
  kernel.lose_table();
  reconciler.take(upserts({worker("w", "10.0.1.7")}));
  const auto outcome = reconciler.reconcile();
  EXPECT_TRUE(outcome.installed);
  EXPECT_TRUE(outcome.may_cut_flows);
  EXPECT_NE(outcome.repaired, 0u);
  EXPECT_TRUE(converged(kernel, reconciler));
}

}  // namespace
}  // namespace podfence::agent
