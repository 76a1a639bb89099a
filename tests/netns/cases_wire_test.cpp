// Every case of tests/cases once more, with real packets: the compiled program in the kernel of each node on the
// flow's path must do what the case says.
#include <gmock/gmock.h>

#include <iostream>
#include <span>

#include "policy/compile/compile.h"
#include "policy/evaluate/evaluate.h"
#include "tests/netns/judged.h"
#include "tests/netns/packet.h"
#include "tests/support/case_file.h"
#include "tests/support/netns.h"

namespace podfence::test {
namespace {

struct Question {
  const CaseFlow* expected;
  net::Flow flow;
};

/// What the nodes did with a flow, each in a process of its own.
struct Tally {
  bool was_packet = false;
  bool dropped = false;
  bool closed = false;  // by a node's fail-closed rule, of which a verdict of the whole path need not know
};

std::string text_of(const Question& question, const std::string& node) {
  return question.expected->text() + ", " + question.flow.source.text() + " -> " + question.flow.destination.text() +
         " on the wire of " + node;
}

/// One node of the moment: its kernel must agree with its evaluator.
void ask_node(const Case& one, const store::Cluster& cluster, const std::string& node,
              const std::vector<Question>& questions, std::span<Tally> tallies) {
  compile::Settings settings;
  settings.node = node;
  settings.fail_closed = one.fail_closed;
  std::vector<net::Flow> flows;
  std::vector<evaluate::Verdict> right;
  std::vector<bool> expected;
  for (const auto& question : questions) {
    flows.push_back(question.flow);
    right.push_back(evaluate::evaluate(cluster, question.flow, {node, one.fail_closed}));
    expected.push_back(right.back().allowed);
  }
  const auto verdicts =
      on_real_packets(topology_spec(cluster, node, flows), compile::compile(cluster, settings), flows, expected);
  for (std::size_t i = 0; i < questions.size(); ++i) {
    if (!verdicts[i]) continue;
    EXPECT_EQ(verdicts[i]->arrived, expected[i]) << text_of(questions[i], node);
    // I-16: what was allowed is answered.
    EXPECT_EQ(verdicts[i]->answered, expected[i] && is_answered(flows[i].protocol)) << text_of(questions[i], node);
    const auto& at = questions[i].expected->at;
    if (!at.empty() && at != node) continue;
    auto& tally = tallies[i];
    tally.was_packet = true;
    tally.dropped = tally.dropped || !verdicts[i]->arrived;
    tally.closed = tally.closed || right[i].reason == evaluate::Reason::fail_closed;
  }
}

class CasesOnTheWire : public testing::TestWithParam<Case> {
 protected:
  static void TearDownTestSuite() {
    std::cout << packets << " of " << flows << " flows of the cases were packets\n";
    EXPECT_GT(packets * 10, flows * 9) << "too many flows of the cases are no packets here";
  }

  static void play(const Case& one, const CaseStep& step, const store::Cluster& cluster) {
    std::vector<Question> questions;
    for (const auto& expected : step.flows) {
      for (const auto& flow : flows_of(expected, cluster)) questions.push_back({&expected, flow});
    }
    if (questions.empty()) return;
    const std::span tallies(static_cast<Tally*>(shared_memory(questions.size() * sizeof(Tally))), questions.size());
    for (const auto& [name, node] : cluster.nodes()) {
      EXPECT_TRUE(in_new_netns([&, &at = name] { ask_node(one, cluster, at, questions, tallies); }));
    }
    flows += questions.size();
    for (std::size_t i = 0; i < questions.size(); ++i) {
      const auto& expected = *questions[i].expected;
      if (!tallies[i].was_packet) continue;
      ++packets;
      if (expected.at.empty() && tallies[i].closed) continue;
      EXPECT_EQ(!tallies[i].dropped, expected.allowed) << text_of(questions[i], "all nodes");
    }
  }

 private:
  inline static std::size_t flows = 0;
  inline static std::size_t packets = 0;
};

TEST_P(CasesOnTheWire, PassOrDropAsExpected) {
  const Case& one = GetParam();
  store::Cluster cluster;
  for (const auto& step : one.steps) {
    SCOPED_TRACE("step: " + step.name);
    for (const auto& event : step.events) cluster.apply(event);
    play(one, step, cluster);
  }
}

INSTANTIATE_TEST_SUITE_P(All, CasesOnTheWire, testing::ValuesIn(load_cases(PODFENCE_CASES_DIR)),
                         [](const auto& one) { return one.param.slug(); });

}  // namespace

void PrintTo(const Case& one, std::ostream* out) {
  *out << one.file << ": " << one.name;
}

}  // namespace podfence::test
