// Kernels that fail: at every step, and for single elements.
#include <gtest/gtest.h>

#include "policy/program/trace.h"
#include "tests/enforcer/agent/worlds.h"

namespace podfence::agent {
namespace {

using program::Element;
using program::Program;
using program::SetId;
using program::Shape;

using Refused = std::pair<SetId, Element>;

std::vector<Refused> elements_of(const Program& program) {
  std::vector<Refused> all;
  for (std::size_t i = 0; i < program::set_count; ++i) {
    for (const auto& element : program.sets[i]) all.emplace_back(program::set_at(i), element);
  }
  return all;
}

Program without(Program program, const Refused& refused) {
  auto& elements = program.at(refused.first);
  elements.erase(std::find(elements.begin(), elements.end(), refused.second));
  return program;
}

/// One call of the reconciler, which either converges or leaves the old program, exactly.
Outcome step(Reconciler& reconciler, test::FakeKernel& kernel, bool carried_out, Outcome (Reconciler::*call)()) {
  const auto before = kernel.program();
  const auto outcome = (reconciler.*call)();
  if (outcome.kind == Kind::retry) {
    EXPECT_FALSE(outcome.error.empty());
    EXPECT_TRUE(reconciler.waiting() || !reconciler.started());
    EXPECT_TRUE(carried_out || kernel.program() == before) << "D-21: the old program stands";
  } else {
    EXPECT_TRUE(converged(kernel, reconciler));
    EXPECT_FALSE(reconciler.waiting());
  }
  return outcome;
}

/// Calls reconcile() until it does not want another try.
void converge(Reconciler& reconciler, test::FakeKernel& kernel, bool carried_out, std::size_t most) {
  for (std::size_t tries = 0; tries < most; ++tries) {
    if (step(reconciler, kernel, carried_out, &Reconciler::reconcile).kind != Kind::retry) return;
  }
  ADD_FAILURE() << "does not converge";
}

/// A start, batches of events, foreign damage. Returns how many calls the kernel saw.
std::size_t run(const History& history, const Fault& fault, std::size_t first, std::size_t last) {
  test::FakeKernel fake;
  FaultyKernel kernel(fake, fault, first, last);
  Reconciler reconciler(settings(history.start.node, history.start.fail_closed), kernel);
  reconciler.take(upserts(history.start.objects));
  const auto most = last - first + 3;
  converge(reconciler, fake, fault.carried_out, most);
  for (std::size_t i = 0; i < history.steps.size(); ++i) {
    reconciler.take(history.steps[i]);
    if (i % 3 == 2) {
      if (i % 2 == 0) fake.lose_table();
      if (step(reconciler, fake, fault.carried_out, &Reconciler::verify).kind != Kind::retry) continue;
    }
    converge(reconciler, fake, fault.carried_out, most);
  }
  return kernel.calls();
}

// D-21, R-12
TEST(Faults, D_21_R_12_at_every_step_leave_the_old_program_and_it_converges) {
  test::Random random(7);  // the faults are what varies
  for (int world = 0; world < 3; ++world) {
    const auto history = random_history(random, 8);
    for (const auto& fault : faults()) {
      for (std::size_t length = 1; length <= 4; length += 3) {
        std::size_t n = 1;
        while (true) {
          SCOPED_TRACE("world " + std::to_string(world) + ", " + fault.name + " from call " + std::to_string(n));
          const auto calls = run(history, fault, n, n + length - 1);
          if (HasFailure()) return;
          if (calls < n) break;
          ++n;
        }
        EXPECT_GT(n, 10u) << "the faults never came";
      }
    }
  }
}

//
TEST(Faults, R_12_a_kernel_that_is_busy_for_long_gets_the_sum_of_what_happened) {
  test::FakeKernel fake;
  FaultyKernel kernel(fake, faults()[0], 3, 12);
  Reconciler reconciler(settings(), kernel);
  reconciler.take(upserts(shop()));
  ASSERT_EQ(reconciler.start().kind, Kind::committed);
  const auto before = *fake.program();
  for (int i = 0; i < 10; ++i) {
    reconciler.take(upserts({test::pod("w").ns("shop").label("app", "worker").ip("10.0.1." + std::to_string(i + 10))}));
    ASSERT_EQ(reconciler.reconcile().kind, Kind::retry);
    ASSERT_EQ(*fake.program(), before);
  }
  EXPECT_EQ(reconciler.reconcile().kind, Kind::committed);
  EXPECT_EQ(fake.tried().size(), 2u);
  EXPECT_TRUE(converged(fake, reconciler));
}

TEST(Faults, a_verify_that_failed_is_made_up_for_by_the_next_reconcile) {
  test::FakeKernel fake;
  FaultyKernel kernel(fake, faults()[0], 3, 3);
  Reconciler reconciler(settings(), kernel);
  reconciler.take(upserts(shop()));
  reconciler.start();
  fake.lose_table();
  ASSERT_EQ(reconciler.verify().kind, Kind::retry);
  EXPECT_TRUE(reconciler.waiting());
  const auto outcome = reconciler.reconcile();
  EXPECT_TRUE(outcome.installed);
  EXPECT_EQ(outcome.repaired, outcome.operations);
  EXPECT_TRUE(converged(fake, reconciler));
}

/// A commit whose answer is lost cuts flows all the same.
TEST(Faults, a_lost_answer_does_not_lose_that_flows_may_be_cut) {
  for (const std::size_t last : {2u, 3u}) {
    test::FakeKernel fake;
    FaultyKernel kernel(fake, faults().back(), 2, last);  // the first commit, and then the read after it
    Reconciler reconciler(settings(), kernel);
    reconciler.take(upserts(shop()));
    ASSERT_EQ(reconciler.start().kind, Kind::retry);
    auto outcome = reconciler.start();
    if (outcome.kind == Kind::retry) outcome = reconciler.start();
    EXPECT_EQ(outcome.operations, 0u) << "it had been done";
    EXPECT_TRUE(outcome.may_cut_flows);
    EXPECT_FALSE(reconciler.verify().may_cut_flows) << "it is said once";
  }
}

TEST(Faults, a_commit_of_ours_whose_answer_was_lost_is_no_drift) {
  test::FakeKernel fake;
  FaultyKernel kernel(fake, faults().back(), 3, 4);  // the second commit, and the read after it
  Reconciler reconciler(settings(), kernel);
  const auto one = test::pod("w").ns("shop").label("app", "worker").ip("10.0.1.9");
  reconciler.take(upserts(shop()));
  reconciler.start();
  reconciler.take(upserts({one}));
  ASSERT_EQ(reconciler.reconcile().kind, Kind::retry);
  reconciler.take(Events{store::Remove{api::key_of(one), ""}});
  const auto outcome = reconciler.reconcile();
  EXPECT_EQ(outcome.kind, Kind::committed);
  EXPECT_EQ(outcome.repaired, 0u);
  EXPECT_TRUE(converged(fake, reconciler));
}

bool only_closes(const SetId& set) {
  return set.shape != Shape::isolated && set.shape != Shape::managed;
}

std::set<std::string> shapes_seen(const std::vector<Refused>& all) {
  std::set<std::string> names;
  for (const auto& one : all) names.emplace(program::name_of(one.first));
  return names;
}

// D-20, R-12
TEST(Withheld, D_20_a_refused_element_that_only_closes_is_left_out_and_the_rest_applied) {
  test::FakeKernel plain;
  Reconciler all(settings(), plain);
  all.take(upserts(shop()));
  all.start();
  const auto elements = elements_of(*plain.program());
  EXPECT_GT(shapes_seen(elements).size(), 9u);
  for (const auto& refused : elements) {
    SCOPED_TRACE(std::string(name_of(refused.first)) + " " + text_of(refused.first, refused.second));
    test::FakeKernel kernel;
    kernel.refuse(refused.first, refused.second);
    Reconciler reconciler(settings(), kernel);
    reconciler.take(upserts(shop()));
    const auto outcome = reconciler.start();
    if (!only_closes(refused.first)) {
      EXPECT_EQ(outcome.kind, Kind::retry) << "never applied in part";
      EXPECT_FALSE(kernel.program());
      EXPECT_TRUE(reconciler.withheld().empty());
      EXPECT_NE(outcome.error.find(name_of(refused.first)), std::string::npos) << outcome.error;
      kernel.refuse_nothing();
      EXPECT_EQ(reconciler.reconcile().kind, Kind::committed);
      EXPECT_TRUE(converged(kernel, reconciler));
      continue;
    }
    EXPECT_EQ(outcome.kind, Kind::committed);
    EXPECT_EQ(*kernel.program(), without(*plain.program(), refused));
    ASSERT_EQ(reconciler.withheld().size(), 1u);
    EXPECT_EQ(reconciler.withheld()[0].set, refused.first);
    EXPECT_EQ(reconciler.withheld()[0].element, refused.second);
    EXPECT_FALSE(reconciler.withheld()[0].why.empty());
    EXPECT_FALSE(reconciler.waiting());

    EXPECT_EQ(reconciler.verify().kind, Kind::idle) << "still refused: nothing was written";
    EXPECT_EQ(reconciler.withheld().size(), 1u);
    kernel.refuse_nothing();
    const auto again = reconciler.verify();
    EXPECT_EQ(again.operations, 1u);
    EXPECT_EQ(again.repaired, 0u) << "a refusal is not drift";
    EXPECT_TRUE(reconciler.withheld().empty());
    EXPECT_TRUE(converged(kernel, reconciler));
  }
}

//
TEST(Withheld, R_12_the_removal_of_what_was_left_out_is_one_ordinary_commit) {
  test::FakeKernel plain;
  Reconciler all(settings(), plain);
  all.take(upserts(shop()));
  all.start();
  for (const auto& refused : elements_of(*plain.program())) {
    if (!only_closes(refused.first)) continue;
    SCOPED_TRACE(std::string(name_of(refused.first)) + " " + text_of(refused.first, refused.second));
    test::FakeKernel kernel;
    kernel.refuse(refused.first, refused.second);
    Reconciler reconciler(settings(), kernel);
    reconciler.take(upserts(shop()));
    reconciler.start();
    const auto tried = kernel.tried().size();
    Events gone;
    for (const auto& object : shop()) gone.emplace_back(store::Remove{api::key_of(object), ""});
    reconciler.take(gone);
    EXPECT_NE(reconciler.reconcile().kind, Kind::retry);
    EXPECT_LE(kernel.tried().size(), tried + 1);
    EXPECT_TRUE(reconciler.withheld().empty());
    EXPECT_TRUE(converged(kernel, reconciler));
  }
}

TEST(Withheld, what_goes_and_comes_back_while_the_kernel_is_busy_is_not_forgotten) {
  test::FakeKernel fake;
  const SetId peers{Shape::peer_class, net::Direction::ingress, net::Family::ipv4};
  FaultyKernel kernel(fake, faults()[0], 4, 4);
  Reconciler reconciler(settings(), kernel);
  reconciler.take(upserts(shop()));
  const auto program = reconciler.compiler().program();
  const auto far = std::find_if(program.at(peers).begin(), program.at(peers).end(),
                                [](const Element& e) { return e.address == test::ip("10.0.1.2"); });
  ASSERT_NE(far, program.at(peers).end());
  fake.refuse(peers, *far);
  ASSERT_EQ(reconciler.start().kind, Kind::committed);  // calls 1 to 3: read, refused, done
  ASSERT_EQ(reconciler.withheld().size(), 1u);

  const auto objects = shop();
  reconciler.take(Events{store::Remove{api::key_of(objects[4]), ""},
                         store::Upsert{test::pod("w").ns("shop").label("app", "worker").ip("10.0.1.9")}});
  ASSERT_EQ(reconciler.reconcile().kind, Kind::retry);
  reconciler.take(upserts({objects[4]}));
  ASSERT_EQ(reconciler.reconcile().kind, Kind::committed);
  EXPECT_EQ(reconciler.withheld().size(), 1u) << "the kernel still does not hold it";
  fake.refuse_nothing();
  reconciler.verify();
  EXPECT_TRUE(converged(fake, reconciler));
}

/// D-20: whatever the kernel refuses, what stands then lets nothing pass that should not.
TEST(Withheld, D_20_never_opens_anything) {
  std::size_t closed = 0;
  for_each_history(60, [&](test::Random& random) {
    const auto history = random_history(random, 6);
    test::FakeKernel kernel;
    Reconciler reconciler(settings(history.start.node, history.start.fail_closed), kernel);
    reconciler.take(upserts(history.start.objects));
    for (std::size_t i = 0; i <= history.steps.size(); ++i) {
      const auto wanted = reconciler.compiler().program();
      const auto elements = elements_of(wanted);
      for (int refused = 0; refused < 3 && !elements.empty(); ++refused) {
        const auto& one = elements[random() % elements.size()];
        if (only_closes(one.first)) kernel.refuse(one.first, one.second);
      }
      ASSERT_NE(reconciler.reconcile().kind, Kind::retry);
      auto complete = *kernel.program();
      for (const auto& w : reconciler.withheld()) complete.at(w.set).push_back(w.element);
      for (auto& set : complete.sets) std::sort(set.begin(), set.end());
      ASSERT_TRUE(is_of(complete, reconciler)) << "everything but what is withheld";
      auto world = history.start;
      const program::Tracer tracer(wanted.options);
      const auto now = reconciler.compiler().program();
      for (const auto& flow : test::flows_in(world, random, 2)) {
        const auto packet = program::first_packet(flow);
        const bool passes = tracer.run(*kernel.program(), packet).accepted;
        const bool should = tracer.run(now, packet).accepted;
        ASSERT_FALSE(passes && !should);
        if (should && !passes) ++closed;
      }
      if (i < history.steps.size()) reconciler.take(history.steps[i]);
    }
    kernel.refuse_nothing();
    ASSERT_NE(reconciler.verify().kind, Kind::retry);
    ASSERT_TRUE(reconciler.withheld().empty());
    ASSERT_TRUE(converged(kernel, reconciler));
  });
  EXPECT_GT(closed, 0u) << "nothing was ever withheld";
}

}  // namespace
}  // namespace podfence::agent
