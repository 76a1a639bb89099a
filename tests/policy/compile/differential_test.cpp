// The compiled program against the reference evaluator, in random worlds: every verdict must be the same.
//   PODFENCE_SEED=N PODFENCE_WORLDS=N policy_compile_test --gtest_filter='Differential.*'
#include <gtest/gtest.h>

#include <iostream>
#include <map>
#include <optional>

#include "policy/compile/compiler.h"
#include "policy/evaluate/evaluate.h"
#include "policy/program/trace.h"
#include "tests/support/random_world.h"
#include "tests/support/shrink.h"
#include "tests/support/world_yaml.h"

namespace podfence {
namespace {

constexpr std::size_t worlds_in_a_run = 20000;
constexpr std::size_t questions_for_each_pair = 8;
constexpr std::size_t every_question_each = 20;  // in one of so many worlds, all ports are asked for

compile::Settings settings_of(const test::World& world) {
  compile::Settings settings;
  settings.node = world.node;
  settings.fail_closed = world.fail_closed;
  settings.split_ports = 8;  // so that both shapes occur
  return settings;
}

/// How often each reason was given: a run in which one of them is rare has not seen much.
using Asked = std::map<evaluate::Reason, std::size_t>;

struct Difference {
  net::Flow flow;
  bool allowed = false;  // says the evaluator
  std::string reason;
};

/// What the node itself sends or receives never crosses the forward hook: the program has no say.
bool is_of_node(const store::Cluster& cluster, const test::World& world, const net::Flow& flow) {
  const api::Node* node = cluster.find_node(world.node);
  if (node == nullptr) return false;
  for (const net::IpAddr& ip : node->addresses) {
    if (ip == flow.source || ip == flow.destination) return true;
  }
  return false;
}

/// Addresses that the node's plugin reported: of any pod, so of strangers and of pods that are over, too.
using Attached = std::vector<net::IpAddr>;

Attached random_attached(const test::World& world, test::Random& random) {
  Attached attached;
  if (random() % 2 == 0) return attached;
  for (const api::Object& object : world.objects) {
    const auto* pod = std::get_if<api::Pod>(&object);
    if (pod != nullptr && random() % 2 == 0) attached.insert(attached.end(), pod->ips.begin(), pod->ips.end());
  }
  return attached;
}

std::string text_of(const Attached& attached) {
  std::string text;
  for (const net::IpAddr& ip : attached) text += " " + ip.text();
  return text;
}

std::optional<Difference> first_difference(const program::Tracer& tracer, const test::World& world,
                                           const Attached& attached, std::uint64_t seed, std::size_t per_pair,
                                           Asked& asked) {
  test::Random random(seed);
  const store::Cluster cluster = test::cluster_of(world);
  const program::Program program = compile::compile(cluster, settings_of(world), attached);
  for (const net::Flow& flow : test::flows_in(world, random, per_pair)) {
    if (is_of_node(cluster, world, flow)) continue;
    const evaluate::Verdict right = evaluate::evaluate(cluster, flow, {world.node, world.fail_closed, attached});
    ++asked[right.reason];
    const program::Trace seen = tracer.run(program, program::first_packet(flow));
    if (seen.accepted != right.allowed) return Difference{flow, right.allowed, std::string(name_of(right.reason))};
  }
  return std::nullopt;
}

TEST(Differential, the_program_decides_as_the_evaluator_does) {
  const std::uint64_t seed = test::seed_of_run();
  const std::size_t worlds = test::count_from_env("PODFENCE_WORLDS", worlds_in_a_run);
  std::cout << "PODFENCE_SEED=" << seed << " PODFENCE_WORLDS=" << worlds << std::endl;
  const program::Tracer tracer{program::Options{}};
  test::Random random(seed);
  Asked asked;
  for (std::size_t i = 0; i < worlds; ++i) {
    const test::World world = test::random_world(random);
    const std::uint64_t flow_seed = random();
    const Attached attached = random_attached(world, random);
    const std::size_t per_pair = i % every_question_each == 0 ? 0 : questions_for_each_pair;
    if (!first_difference(tracer, world, attached, flow_seed, per_pair, asked)) continue;
    Asked ignored;
    const test::World small = test::shrunk(world, [&](const test::World& candidate) {
      return first_difference(tracer, candidate, attached, 0, 0, ignored).has_value();
    });
    const auto difference = first_difference(tracer, small, attached, 0, 0, ignored);
    ASSERT_TRUE(difference) << "world " << i << " does not fail again with every question asked";
    FAIL() << "world " << i << ": evaluator " << (difference->allowed ? "allows" : "denies") << " ("
           << difference->reason << "), program does not. Attached:" << text_of(attached) << ". As a case:\n"
           << test::case_of(small, difference->flow, difference->allowed, "found at random");
  }
  using evaluate::Reason;
  for (const Reason reason : {Reason::no_pod, Reason::not_isolated, Reason::allowed_by_rule, Reason::own_pod,
                              Reason::default_deny, Reason::fail_closed}) {
    std::cout << name_of(reason) << ": " << asked[reason] << " flows" << std::endl;
    EXPECT_GT(asked[reason], worlds) << name_of(reason);
  }
}

}  // namespace
}  // namespace podfence
