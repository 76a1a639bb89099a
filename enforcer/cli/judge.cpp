#include "enforcer/cli/judge.h"

#include <algorithm>

#include "policy/compile/compile.h"

namespace podfence::cli {
namespace {

using evaluate::Reason;

void add_node(std::vector<std::string>& nodes, const std::string& node) {
  if (std::find(nodes.begin(), nodes.end(), node) == nodes.end()) nodes.push_back(node);
}

void add_nodes_of(const store::Cluster& cluster, const net::IpAddr& ip, std::vector<std::string>& nodes) {
  if (const api::Pod* pod = cluster.pod_by_ip(ip)) return add_node(nodes, pod->node);
  if (cluster.node_by_ip(ip) != nullptr) return;
  for (const auto& [name, node] : cluster.nodes()) {
    const bool holds = std::any_of(node.pod_cidrs.begin(), node.pod_cidrs.end(),
                                   [&](const net::Cidr& range) { return range.contains(ip); });
    if (holds) add_node(nodes, name);
  }
}

/// What a node sends or receives itself takes the output and input hooks, not the one that judges.
bool crosses_forward(const store::Cluster& cluster, const std::string& name, const net::Flow& flow) {
  const api::Node* node = cluster.find_node(name);
  if (node == nullptr) return true;
  return std::none_of(node->addresses.begin(), node->addresses.end(),
                      [&](const net::IpAddr& ip) { return ip == flow.source || ip == flow.destination; });
}

/// How much a reason for letting a flow pass says; the node that says most gives the reason.
int weight(Reason reason) {
  switch (reason) {
    case Reason::no_pod:
      return 0;
    case Reason::not_isolated:
      return 1;
    case Reason::own_node:
    case Reason::own_pod:
      return 2;
    case Reason::allowed_by_rule:
      return 3;
    case Reason::default_deny:
    case Reason::fail_closed:
      return 4;
  }
  return 0;
}

}  // namespace

std::vector<std::string> nodes_of(const store::Cluster& cluster, const net::Flow& flow) {
  std::vector<std::string> nodes;
  add_nodes_of(cluster, flow.source, nodes);
  add_nodes_of(cluster, flow.destination, nodes);
  return nodes;
}

evaluate::Verdict verdict_of(const store::Cluster& cluster, const net::Flow& flow, bool fail_closed,
                             const AttachedTo& attached) {
  evaluate::Verdict whole;
  whole.reason = Reason::no_pod;
  std::vector<std::string> nodes = nodes_of(cluster, flow);
  if (std::any_of(attached.addresses.begin(), attached.addresses.end(),
                  [&](const net::IpAddr& ip) { return ip == flow.source || ip == flow.destination; })) {
    add_node(nodes, attached.node);
  }
  for (const std::string& node : nodes) {
    evaluate::Options options{node, fail_closed};
    if (node == attached.node) options.attached = attached.addresses;
    evaluate::Verdict verdict = evaluate::evaluate(cluster, flow, options);
    if (!verdict.allowed) return verdict;
    if (weight(verdict.reason) > weight(whole.reason)) whole.reason = verdict.reason;
    whole.policies.insert(whole.policies.end(), verdict.policies.begin(), verdict.policies.end());
  }
  return whole;
}

Judge::Judge(const store::Cluster& cluster, bool fail_closed, std::map<std::string, program::Program> programs)
    : cluster_(cluster), fail_closed_(fail_closed), tracer_(program::Options{}), programs_(std::move(programs)) {}

const program::Program& Judge::program_of(const std::string& node) {
  const auto found = programs_.find(node);
  if (found != programs_.end()) return found->second;
  compile::Settings settings;
  settings.node = node;
  settings.fail_closed = fail_closed_;
  return programs_.emplace(node, compile::compile(cluster_, settings)).first->second;
}

void Judge::compare(const std::string& node, const net::Flow& flow, Judged& judged) {
  const bool evaluator = evaluate::evaluate(cluster_, flow, {node, fail_closed_}).allowed;
  if (!crosses_forward(cluster_, node, flow)) {
    if (!evaluator) judged.differences.push_back({node, true, false, "first packet"});
    return;
  }
  const program::Program& program = program_of(node);
  const bool first = tracer_.run(program, program::first_packet(flow)).accepted;
  if (first != evaluator) judged.differences.push_back({node, first, evaluator, "first packet"});
  const bool reply = tracer_.run(program, program::reply_packet(flow)).accepted;
  if (reply != evaluator) judged.differences.push_back({node, reply, evaluator, "reply"});
}

Judged Judge::judge(const net::Flow& flow) {
  Judged judged{verdict_of(cluster_, flow, fail_closed_), {}};
  for (const std::string& node : nodes_of(cluster_, flow)) compare(node, flow, judged);
  const bool every_side = evaluate::evaluate(cluster_, flow).allowed;
  if (judged.verdict.reason != Reason::fail_closed && every_side != judged.verdict.allowed) {
    judged.differences.push_back({"", judged.verdict.allowed, every_side, "all sides"});
  }
  return judged;
}

}  // namespace podfence::cli
