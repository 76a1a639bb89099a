// Plays every case of this folder: what the decoders report, what the evaluator says, what the compiled program does
// with the packets, that the incremental compiler gets there by steps, and the printed program where a case asks for
// it.
#include <gmock/gmock.h>

#include <map>

#include "policy/compile/compile.h"
#include "policy/compile/compiler.h"
#include "policy/diff/diff.h"
#include "policy/evaluate/evaluate.h"
#include "policy/program/print.h"
#include "policy/program/trace.h"
#include "tests/support/case_file.h"

namespace podfence::test {
namespace {

std::string text_of(const net::Flow& flow) {
  return flow.source.text() + " -> " + flow.destination.text() + ":" + std::to_string(flow.destination_port.number) +
         "/" + net::text_of(flow.protocol);
}

compile::Settings settings_of(const Case& one, const std::string& node) {
  compile::Settings settings;
  settings.node = node;
  settings.fail_closed = one.fail_closed;
  return settings;
}

/// The answer to the first packet of a flow.
program::Packet answer_to(const net::Flow& flow, bool labelled) {
  auto packet = program::first_packet(flow);
  std::swap(packet.source, packet.destination);
  std::swap(packet.source_port, packet.destination_port);
  packet.established = true;
  packet.reply = true;
  packet.labelled = labelled;
  return packet;
}

/// Programs of the nodes of one moment, made when they are asked for.
class Programs {
 public:
  Programs(const Case& one, const store::Cluster& cluster) : case_(one), cluster_(cluster) {}
  const program::Program& at(const std::string& node) {
    const auto found = programs_.find(node);
    if (found != programs_.end()) return found->second;
    return programs_.emplace(node, compile::compile(cluster_, settings_of(case_, node))).first->second;
  }

 private:
  const Case& case_;
  const store::Cluster& cluster_;
  std::map<std::string, program::Program> programs_;
};

void check_evaluator(const Case& one, const CaseFlow& expected, const evaluate::Verdict& verdict) {
  EXPECT_EQ(verdict.allowed, expected.allowed) << "evaluate says " << evaluate::name_of(verdict.reason);
  if (expected.reason) {
    EXPECT_EQ(evaluate::name_of(verdict.reason), *expected.reason);
  }
  if (expected.policies) {
    std::vector<std::string> named;
    for (const auto& policy : verdict.policies) named.push_back(policy.namespace_ + "/" + policy.name);
    std::sort(named.begin(), named.end());
    named.erase(std::unique(named.begin(), named.end()), named.end());
    EXPECT_EQ(named, *expected.policies) << one.name;
  }
}

/// A flow and its answer through the program of one node; what the node itself sends or takes never passes it.
void check_program(const program::Program& program, const net::Flow& flow, const evaluate::Verdict& verdict) {
  if (verdict.reason == evaluate::Reason::own_node) return;
  const auto trace = program::trace(program, program::first_packet(flow), true);
  EXPECT_EQ(trace.accepted, verdict.allowed) << testing::PrintToString(trace.path);
  if (!verdict.allowed) {
    const auto why = verdict.reason == evaluate::Reason::fail_closed ? program::Why::unknown : program::Why::policy;
    EXPECT_EQ(trace.log_prefix, program::log_prefix(verdict.direction, why));
    EXPECT_FALSE(trace.labels_flow);
    // Without a label, an established flow is judged again (I-16 the other way round).
    EXPECT_FALSE(program::trace(program, answer_to(flow, false)).accepted);
    return;
  }
  // I-16: the answer passes, by the label that the first packet left and, where it is missing, by the same rules.
  EXPECT_TRUE(program::trace(program, answer_to(flow, true)).accepted);
  const auto unlabelled = program::trace(program, answer_to(flow, false), true);
  EXPECT_TRUE(unlabelled.accepted) << testing::PrintToString(unlabelled.path);
}

/// Everybody together allow a flow exactly when each node, asked for its own pods, does (N-11, P-12).
void check_nodes_agree(const store::Cluster& cluster, const net::Flow& flow) {
  for (const auto& [key, pod] : cluster.pods()) {
    if (pod.selectable() && cluster.find_node(pod.node) == nullptr) return;
  }
  bool all = true;
  for (const auto& [name, node] : cluster.nodes()) {
    all = all && evaluate::evaluate(cluster, flow, {name, false}).allowed;
  }
  EXPECT_EQ(evaluate::evaluate(cluster, flow).allowed, all);
}

void check_flows(const Case& one, const CaseStep& step, const store::Cluster& cluster, bool all_must_exist) {
  Programs programs(one, cluster);
  for (const auto& expected : step.flows) {
    const auto flows = flows_of(expected, cluster);
    if (all_must_exist) {
      EXPECT_FALSE(flows.empty()) << expected.text() << ": no such packet";
    }
    for (const auto& flow : flows) {
      SCOPED_TRACE(expected.text() + " as " + text_of(flow));
      const auto verdict = evaluate::evaluate(cluster, flow, {expected.at, one.fail_closed});
      check_evaluator(one, expected, verdict);
      if (!expected.at.empty()) check_program(programs.at(expected.at), flow, verdict);
      for (const auto& [name, node] : cluster.nodes()) {
        SCOPED_TRACE("at " + name);
        check_program(programs.at(name), flow, evaluate::evaluate(cluster, flow, {name, one.fail_closed}));
      }
      check_nodes_agree(cluster, flow);
    }
  }
}

void check_errors(const CaseStep& step) {
  if (step.expect_errors.empty()) {
    EXPECT_THAT(step.errors, testing::IsEmpty());
  }
  for (const auto& expected : step.expect_errors) {
    EXPECT_THAT(step.errors, testing::Contains(testing::HasSubstr(expected)));
  }
}

/// The printed program never names an object (Z-01, Z-02) and never answers a packet (I-20).
void check_text(const program::Program& program) {
  const auto text = program::print(program);
  EXPECT_THAT(text, testing::Not(testing::HasSubstr("comment")));
  EXPECT_THAT(text, testing::Not(testing::HasSubstr("reject")));
}

/// But for what packets are counted under.
std::string text_of_judgement(diff::Changes changes) {
  std::erase_if(changes.sets, [](const auto& entry) { return entry.first.shape == program::Shape::policies; });
  return diff::text_of(changes);
}

void play(const Case& one, bool is_original) {
  store::Cluster cluster;
  compile::Compiler compiler(settings_of(one, one.node));
  program::Program kernel;
  for (const auto& step : one.steps) {
    SCOPED_TRACE("step: " + step.name);
    check_errors(step);
    for (const auto& event : step.events) cluster.apply(event);
    const auto changes = compiler.apply(step.events);
    if (step.unchanged) {
      EXPECT_EQ(text_of_judgement(changes), "");
    }
    auto after = diff::apply(changes, std::move(kernel));
    ASSERT_TRUE(after) << after.error().what();
    kernel = *std::move(after);
    EXPECT_TRUE(kernel == compiler.program()) << "the changes do not give the compiler's program";
    const auto whole = compile::canonical(compile::compile(cluster, settings_of(one, one.node)));
    const auto stepped = compile::canonical(compiler.program());
    EXPECT_TRUE(stepped == whole) << "stepped:\n" << program::print(stepped) << "\nwhole:\n" << program::print(whole);
    check_flows(one, step, cluster, is_original);
    check_text(whole);
  }
}

class Cases : public testing::TestWithParam<Case> {};

TEST_P(Cases, PlayAsExpected) {
  play(GetParam(), true);
}

// 6-02: a cluster without IPv4 passes the whole list.
TEST_P(Cases, PlayAsExpectedWithoutIpv4) {
  play(only_ipv6(GetParam()), false);
}

INSTANTIATE_TEST_SUITE_P(All, Cases, testing::ValuesIn(load_cases(PODFENCE_CASES_DIR)),
                         [](const auto& one) { return one.param.slug(); });

}  // namespace

void PrintTo(const Case& one, std::ostream* out) {
  *out << one.file << ": " << one.name;
}

}  // namespace podfence::test
