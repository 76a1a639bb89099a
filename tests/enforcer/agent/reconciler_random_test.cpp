// What holds for the reconciler whatever happens to the cluster and to the table.
#include <gtest/gtest.h>

#include "policy/program/trace.h"
#include "tests/enforcer/agent/worlds.h"

namespace podfence::agent {
namespace {

using program::Program;

/// Somebody else adds and removes elements, or takes the table away.
void damage(test::Random& random, test::FakeKernel& kernel, const Program& other) {
  switch (random() % 4) {
    case 0:
      return kernel.lose_table();
    case 1:
      return kernel.damage("a foreign rule");
    case 2:
      return kernel.replace(other);
    default: {
      auto program = *kernel.program();
      auto& set = program.sets[random() % program.sets.size()];
      if (!set.empty()) set.erase(set.begin() + static_cast<std::ptrdiff_t>(random() % set.size()));
      return kernel.replace(program);
    }
  }
}

// D-22, D-23: after every commit the kernel holds what a compilation from scratch gives.
TEST(ReconcilerLaws, D_22_every_history_ends_in_the_program_of_its_cluster) {
  for_each_history(150, [](test::Random& random) {
    const auto history = random_history(random, 25);
    test::FakeKernel kernel;
    Reconciler reconciler(settings(history.start.node, history.start.fail_closed), kernel);
    reconciler.take(upserts(history.start.objects));
    ASSERT_EQ(reconciler.start().kind, Kind::committed);
    ASSERT_TRUE(converged(kernel, reconciler));
    const auto first = *kernel.program();
    for (const auto& events : history.steps) {
      reconciler.take(events);
      const auto dice = random() % 10;
      if (dice < 3) continue;  // coalesce
      const bool foreign = dice == 3;
      if (foreign) damage(random, kernel, first);
      const auto outcome = dice < 6 ? reconciler.verify() : reconciler.reconcile();
      ASSERT_NE(outcome.kind, Kind::retry) << outcome.error;
      if (!foreign) {
        ASSERT_EQ(outcome.repaired, 0u);
        ASSERT_FALSE(outcome.installed);
      }
      ASSERT_TRUE(converged(kernel, reconciler));
      ASSERT_EQ(*kernel.program(), reconciler.compiler().program());
      ASSERT_FALSE(reconciler.waiting());
      ASSERT_EQ(reconciler.verify().kind, Kind::idle);
    }
  });
}

// R-08, D-24: whatever numbers the classes got, a restart takes them over.
TEST(ReconcilerLaws, R_08_a_restart_after_any_history_writes_nothing) {
  for_each_history(150, [](test::Random& random) {
    const auto history = random_history(random, 10);
    test::FakeKernel kernel;
    Reconciler before(settings(history.start.node, history.start.fail_closed), kernel);
    before.take(upserts(history.start.objects));
    before.start();
    for (const auto& events : history.steps) {
      before.take(events);
      before.reconcile();
    }
    const auto held = *kernel.program();
    const auto tried = kernel.tried().size();
    Reconciler after(before.compiler().settings(), kernel);
    after.take(upserts(history.end.objects));
    const auto outcome = after.start();
    ASSERT_EQ(outcome.kind, Kind::idle) << diff::text_of(kernel.tried().back());
    ASSERT_EQ(kernel.tried().size(), tried);
    ASSERT_EQ(after.compiler().program(), held);
  });
}

// a start on the leftovers of another time gives the program of now, without a new table.
TEST(ReconcilerLaws, R_09_a_start_on_leftovers_is_a_difference) {
  for_each_history(150, [](test::Random& random) {
    const auto history = random_history(random, 10);
    test::FakeKernel kernel;
    Reconciler before(settings(history.start.node, history.start.fail_closed), kernel);
    before.take(upserts(history.start.objects));
    before.start();
    Reconciler after(before.compiler().settings(), kernel);
    after.take(upserts(history.end.objects));
    ASSERT_NE(after.start().kind, Kind::retry);
    ASSERT_FALSE(kernel.tried().back().install && kernel.tried().size() > 1);
    ASSERT_TRUE(converged(kernel, after));
  });
}

/// A flow that one program accepts and the other does not.
bool cuts_a_flow(const Program& from, const Program& to, const std::vector<net::Flow>& flows) {
  const program::Tracer tracer(from.options);
  return std::any_of(flows.begin(), flows.end(), [&](const net::Flow& flow) {
    const auto packet = program::first_packet(flow);
    return tracer.run(from, packet).accepted && !tracer.run(to, packet).accepted;
  });
}

TEST(ReconcilerLaws, changes_that_cut_a_flow_say_so) {
  std::size_t cuts = 0;
  std::size_t harmless = 0;
  for_each_history(150, [&](test::Random& random) {
    const auto history = random_history(random, 12);
    compile::Compiler compiler(settings(history.start.node, history.start.fail_closed));
    compiler.apply(upserts(history.start.objects));
    auto world = history.start;
    const auto flows = test::flows_in(world, random, 3);
    auto before = compiler.program();
    for (const auto& events : history.steps) {
      const auto changes = compiler.apply(events);
      const auto after = compiler.program();
      const bool says_so = may_cut_flows(changes);
      if (cuts_a_flow(before, after, flows)) {
        ++cuts;
        ASSERT_TRUE(says_so) << diff::text_of(changes);
        ASSERT_TRUE(may_cut_flows(diff::changes_between(before, after)));
      }
      if (!says_so && !changes.empty()) ++harmless;
      before = after;
    }
  });
  EXPECT_GT(cuts, 0u);
  EXPECT_GT(harmless, 0u) << "it must not always say so";
}

/// From a world to an unrelated one by way of the class numbers of the first.
TEST(ReconcilerLaws, a_difference_that_cuts_a_flow_says_so) {
  for_each_history(150, [](test::Random& random) {
    const auto one = test::random_world(random);
    const auto two = test::random_world(random);
    compile::Compiler from(settings());
    compile::Compiler to(settings());
    from.apply(upserts(one.objects));
    to.apply(upserts(two.objects));
    to.adopt_classes(from.program());
    auto flows = test::flows_in(one, random, 2);
    const auto others = test::flows_in(two, random, 2);
    flows.insert(flows.end(), others.begin(), others.end());
    const auto changes = diff::changes_between(from.program(), to.program());
    if (cuts_a_flow(from.program(), to.program(), flows)) {
      ASSERT_TRUE(may_cut_flows(changes)) << diff::text_of(changes);
    }
  });
}

}  // namespace
}  // namespace podfence::agent
