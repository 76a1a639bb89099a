// Random worlds with real packets: what the kernel lets through is what the reference evaluator says, for every pair of
// addresses inside the cluster and outside.
//   PODFENCE_SEED=N PODFENCE_WIRE_WORLDS=N netns_test --gtest_filter='RandomOnTheWire.*'
#include <gtest/gtest.h>

#include <chrono>
#include <iostream>

#include "policy/compile/compile.h"
#include "policy/evaluate/evaluate.h"
#include "tests/netns/judged.h"
#include "tests/netns/packet.h"
#include "tests/support/netns.h"
#include "tests/support/random_world.h"
#include "tests/support/world_yaml.h"

namespace podfence::test {
namespace {

constexpr std::size_t worlds_in_a_run = 120;
constexpr std::size_t questions_for_each_pair = 6;

struct Totals {
  std::size_t packets = 0;
  std::size_t arrived = 0;
};

/// In the node's namespace. Adds to the totals, which are shared with the parent.
void play(const World& world, std::uint64_t flow_seed, Totals& totals) {
  Random random(flow_seed);
  const auto cluster = cluster_of(world);
  compile::Settings settings;
  settings.node = world.node;
  settings.fail_closed = world.fail_closed;
  settings.split_ports = 8;  // so that both shapes occur
  const auto flows = flows_in(world, random, questions_for_each_pair);
  std::vector<bool> expected;
  for (const auto& flow : flows) {
    expected.push_back(evaluate::evaluate(cluster, flow, {world.node, world.fail_closed}).allowed);
  }
  const auto verdicts =
      on_real_packets(topology_spec(cluster, world.node, flows), compile::compile(cluster, settings), flows, expected);
  for (std::size_t i = 0; i < flows.size(); ++i) {
    if (!verdicts[i]) continue;
    ++totals.packets;
    totals.arrived += verdicts[i]->arrived ? 1U : 0U;
    ASSERT_EQ(verdicts[i]->arrived, expected[i]) << case_of(world, flows[i], expected[i], "real packets differ");
    // I-16: an allowed flow is answered, whatever the rules for the other direction say.
    ASSERT_EQ(verdicts[i]->answered, expected[i] && is_answered(flows[i].protocol))
        << case_of(world, flows[i], expected[i], "no answer");
  }
}

TEST(RandomOnTheWire, PacketsGoWhereTheEvaluatorSays) {
  const auto seed = seed_of_run();
  const auto worlds = count_from_env("PODFENCE_WIRE_WORLDS", worlds_in_a_run);
  std::cout << "PODFENCE_SEED=" << seed << " PODFENCE_WIRE_WORLDS=" << worlds << std::endl;
  auto* totals = static_cast<Totals*>(shared_memory(sizeof(Totals)));
  Random random(seed);
  const auto start = std::chrono::steady_clock::now();
  for (std::size_t i = 0; i < worlds; ++i) {
    const auto world = random_world(random);
    const auto flow_seed = random();
    ASSERT_TRUE(in_new_netns([&] { play(world, flow_seed, *totals); })) << "PODFENCE_SEED=" << seed << " world " << i;
  }
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
  std::cout << worlds << " worlds, " << totals->packets << " packets, " << totals->arrived << " arrived, "
            << took.count() / static_cast<double>(worlds) << " ms a world\n";
  EXPECT_GT(totals->packets, worlds * 20);
  EXPECT_GT(totals->arrived, totals->packets / 20);
  EXPECT_LT(totals->arrived, totals->packets - totals->packets / 20);
}

}  // namespace
}  // namespace podfence::test
