// What holds for the incremental compiler on every path, tried on random histories of small worlds:
// whatever happened before, the program is the one that a compilation from scratch gives (conformance D-22).
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>

#include "policy/compile/compiler.h"
#include "policy/diff/diff.h"
#include "tests/support/random_world.h"
#include "tests/support/world_yaml.h"

namespace podfence {
namespace {

using compile::canonical;
using compile::Compiler;
using Events = std::vector<store::Event>;

constexpr std::size_t histories_in_a_run = 400;
constexpr std::size_t steps = 40;

compile::Settings settings_of(const test::World& world) {
  compile::Settings settings;
  settings.node = world.node;
  settings.fail_closed = world.fail_closed;
  settings.split_ports = 8;
  return settings;
}

Events events_of(const test::World& world) {
  Events events;
  for (const api::Object& object : world.objects) events.emplace_back(store::Upsert{object});
  return events;
}

std::string text_of(const Events& events) {
  std::string text;
  for (const store::Event& event : events) {
    const auto* upsert = std::get_if<store::Upsert>(&event);
    text += upsert != nullptr ? "upsert " + test::manifest_of(upsert->object) : "remove " + store::key_of(event).text();
    text += "\n";
  }
  return text;
}

/// Calls f(random, seed) for every history of the run.
template <class F>
void for_each_history(F&& f) {
  const std::uint64_t seed = test::seed_of_run();
  const std::size_t histories = test::count_from_env("PODFENCE_HISTORIES", histories_in_a_run);
  std::cout << "PODFENCE_SEED=" << seed << " PODFENCE_HISTORIES=" << histories << std::endl;
  test::Random random(seed);
  for (std::size_t i = 0; i < histories && !testing::Test::HasFatalFailure(); ++i) {
    SCOPED_TRACE("history " + std::to_string(i) + " of PODFENCE_SEED=" + std::to_string(seed));
    f(random);
  }
}

/// A world and what then happens to it.
struct History {
  test::World start;
  std::vector<Events> steps;
  test::World end;
};

History random_history(test::Random& random) {
  History history{test::random_world(random), {}, {}};
  history.end = history.start;
  for (std::size_t i = 0; i < steps; ++i) history.steps.push_back(test::random_step(random, history.end));
  return history;
}

Compiler compiler_of(const History& history, const std::vector<Events>& batches) {
  Compiler compiler(settings_of(history.start));
  for (const Events& batch : batches) compiler.apply(batch);
  return compiler;
}

/// Addresses that may be plugged in: some of pods (of this node or not), and one that no pod has.
std::vector<net::IpAddr> random_attached(const test::World& world, test::Random& random) {
  std::vector<net::IpAddr> attached;
  for (const api::Object& object : world.objects) {
    const auto* pod = std::get_if<api::Pod>(&object);
    if (pod == nullptr || random() % 2 == 0) continue;
    attached.insert(attached.end(), pod->ips.begin(), pod->ips.end());
  }
  const auto low = static_cast<std::uint8_t>(random() % 8);
  attached.push_back(net::IpAddr::v4(10, 77, 0, low));
  if (random() % 2 == 0) attached.push_back(net::IpAddr::v4(10, 77, 0, static_cast<std::uint8_t>(low + 1)));
  std::shuffle(attached.begin(), attached.end(), random);
  return attached;
}

// Covers R-01: an address that was plugged in is closed until a known pod of this node owns it.
TEST(Laws, whatever_is_attached_every_step_equals_a_compilation_from_scratch) {
  for_each_history([](test::Random& random) {
    const History history = random_history(random);
    Compiler compiler(settings_of(history.start));
    test::World world = history.start;
    program::Program kernel;
    const auto step = [&](const diff::Changes& changes) {
      ASSERT_EQ(diff::text_of(changes), diff::text_of(diff::changes_between(kernel, compiler.program())));
      auto applied = diff::apply(changes, std::move(kernel));
      ASSERT_TRUE(applied) << applied.error().what();
      kernel = std::move(*applied);
      const auto right = compile::compile(compiler.cluster(), compiler.settings(), compiler.attached());
      ASSERT_EQ(diff::text_of(diff::changes_between(right, canonical(kernel))), "");
    };
    ASSERT_NO_FATAL_FAILURE(step(compiler.attach(random_attached(world, random))));
    ASSERT_NO_FATAL_FAILURE(step(compiler.apply(events_of(world))));
    for (const Events& events : history.steps) {
      if (random() % 3 == 0) {
        const auto attached = random_attached(history.end, random);
        ASSERT_NO_FATAL_FAILURE(step(compiler.attach(attached)));
        ASSERT_TRUE(compiler.attach(attached).empty());
      }
      ASSERT_NO_FATAL_FAILURE(step(compiler.apply(events)));
    }
    ASSERT_NO_FATAL_FAILURE(step(compiler.attach({})));
    ASSERT_EQ(canonical(kernel), compile::compile(compiler.cluster(), compiler.settings()));
  });
}

TEST(Laws, every_step_equals_a_compilation_from_scratch_and_its_changes_are_the_least) {
  for_each_history([](test::Random& random) {
    const History history = random_history(random);
    Compiler compiler(settings_of(history.start));
    std::vector<Events> batches{events_of(history.start)};
    batches.insert(batches.end(), history.steps.begin(), history.steps.end());
    for (std::size_t i = 0; i < batches.size(); ++i) {
      const program::Program before = compiler.program();
      const diff::Changes changes = compiler.apply(batches[i]);
      const program::Program after = compiler.program();
      SCOPED_TRACE("batch " + std::to_string(i) + "\n" + text_of(batches[i]));
      ASSERT_EQ(diff::text_of(changes), diff::text_of(diff::changes_between(before, after)));
      const auto applied = diff::apply(changes, before);
      ASSERT_TRUE(applied) << applied.error().what();
      ASSERT_EQ(*applied, after);
      const auto right = compile::compile(compiler.cluster(), compiler.settings());
      ASSERT_EQ(diff::text_of(diff::changes_between(right, canonical(after))), "");
    }
    ASSERT_EQ(compiler.cluster(), test::cluster_of(history.end));
  });
}

// Covers D-24, D-25: what is said twice changes nothing.
TEST(Laws, repeated_events_change_nothing) {
  for_each_history([](test::Random& random) {
    const History history = random_history(random);
    Compiler compiler = compiler_of(history, {events_of(history.end)});
    const program::Program before = compiler.program();
    ASSERT_TRUE(compiler.apply(events_of(history.end)).empty());
    Events shuffled = events_of(history.end);
    std::shuffle(shuffled.begin(), shuffled.end(), random);
    ASSERT_TRUE(compiler.apply(shuffled).empty());
    ASSERT_TRUE(compiler.apply({}).empty());
    ASSERT_EQ(compiler.program(), before);
  });
}

TEST(Laws, every_path_to_a_state_gives_the_same_program) {
  for_each_history([](test::Random& random) {
    const History history = random_history(random);
    Events reversed = events_of(history.end);
    std::reverse(reversed.begin(), reversed.end());
    Events squashed = events_of(history.start);
    std::vector<Events> split;
    for (const store::Event& event : squashed) split.push_back({event});
    for (const Events& step : history.steps) {
      squashed.insert(squashed.end(), step.begin(), step.end());
      for (const store::Event& event : step) split.push_back({event});
    }
    std::vector<Events> doubled;
    for (const Events& batch : split) {
      doubled.push_back(batch);
      doubled.push_back(batch);
    }
    const program::Program right = compile::compile(test::cluster_of(history.end), settings_of(history.end));
    ASSERT_EQ(canonical(compiler_of(history, {reversed}).program()), right);
    ASSERT_EQ(canonical(compiler_of(history, {squashed}).program()), right);
    ASSERT_EQ(canonical(compiler_of(history, split).program()), right);
    ASSERT_EQ(canonical(compiler_of(history, doubled).program()), right);
  });
}

// Covers D-23: nothing is left of a world that is gone.
TEST(Laws, a_world_that_is_taken_back_leaves_nothing) {
  for_each_history([](test::Random& random) {
    const History history = random_history(random);
    Compiler compiler = compiler_of(history, {events_of(history.end)});
    Events removals;
    for (const api::Object& object : history.end.objects) removals.emplace_back(store::Remove{api::key_of(object), ""});
    std::shuffle(removals.begin(), removals.end(), random);
    for (const store::Event& event : removals) compiler.apply({event});
    ASSERT_EQ(compiler.program().element_count(), 0U);
    const Compiler::Sizes sizes = compiler.sizes();
    ASSERT_EQ(sizes.local_pods + sizes.relevant_policies + sizes.peer_specs + sizes.classes, 0U);
  });
}

TEST(Laws, a_restart_in_an_unchanged_world_adopts_every_class) {
  for_each_history([](test::Random& random) {
    const History history = random_history(random);
    std::vector<Events> batches{events_of(history.start)};
    batches.insert(batches.end(), history.steps.begin(), history.steps.end());
    const Compiler before = compiler_of(history, batches);
    Compiler after = compiler_of(history, {events_of(history.end)});
    ASSERT_EQ(after.adopt_classes(before.program()), before.sizes().classes);
    ASSERT_EQ(after.program(), before.program());
  });
}

// Adoption of whatever a kernel may hold keeps classes apart, and the compiler goes on from there.
TEST(Laws, a_restart_in_a_changed_world_is_right_and_so_is_what_follows) {
  for_each_history([](test::Random& random) {
    const History history = random_history(random);
    const Compiler before = compiler_of(history, {events_of(history.start)});
    Compiler after = compiler_of(history, {events_of(history.end)});
    after.adopt_classes(before.program());
    const program::Program right = compile::compile(after.cluster(), after.settings());
    ASSERT_EQ(canonical(after.program()), right);
    program::Program kernel = after.program();
    test::World world = history.end;
    for (std::size_t i = 0; i < 5; ++i) {
      const auto applied = diff::apply(after.apply(test::random_step(random, world)), kernel);
      ASSERT_TRUE(applied) << applied.error().what();
      kernel = *applied;
    }
    ASSERT_EQ(canonical(kernel), compile::compile(after.cluster(), after.settings()));
  });
}

}  // namespace
}  // namespace podfence
