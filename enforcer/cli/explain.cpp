#include "enforcer/cli/explain.h"

#include <ostream>

#include "enforcer/cli/judge.h"
#include "policy/base/json_writer.h"

namespace podfence::cli {
namespace {

using evaluate::PolicyVerdict;
using evaluate::Reason;

std::string port_text(const net::Flow& flow) {
  const std::string protocol = net::text_of(flow.protocol);
  return net::has_ports(flow.protocol) ? protocol + " " + std::to_string(flow.destination_port.number) : protocol;
}

std::string rule_text(const PolicyVerdict& said) {
  return std::string(net::name_of(said.direction)) + "[" + std::to_string(said.rule) + "]";
}

std::string policy_text(const PolicyVerdict& said) {
  return said.namespace_ + "/" + said.name + (said.rule == PolicyVerdict::npos ? "" : " " + rule_text(said));
}

/// Why, in a sentence.
std::string reason_text(const evaluate::Verdict& verdict) {
  const std::string direction(net::name_of(verdict.direction));
  switch (verdict.reason) {
    case Reason::no_pod:
      return "neither end is a pod of this cluster: nothing here judges it";
    case Reason::not_isolated:
      return "no policy isolates either end for its direction";
    case Reason::allowed_by_rule:
      return "every side that policies isolate has a rule that admits it";
    case Reason::own_node:
      return "between a pod and the node it runs on: always allowed";
    case Reason::own_pod:
      return "a pod to itself: always allowed";
    case Reason::default_deny:
      return "policies isolate the pod for " + direction + ", and no rule of theirs admits it";
    case Reason::fail_closed:
      return "no known pod has the " +
             std::string(verdict.direction == net::Direction::egress ? "source" : "destination") +
             " address, which lies in a node's pod range: closed until a pod has it";
  }
  return {};
}

struct Answer {
  Endpoint source;
  Endpoint destination;
  net::Flow flow;
  evaluate::Verdict verdict;
  std::vector<NearRule> nearest;
};

Result<Answer> answer_to(const store::Cluster& cluster, const ExplainOptions& options) {
  const auto target = parse_target(options.destination);
  if (!target) return fail(target.error());
  auto source = find_endpoint(cluster, options.source);
  if (!source) return fail(source.error());
  auto destination = find_endpoint(cluster, target->end);
  if (!destination) return fail(destination.error());
  const auto port = find_port(*destination, target->port, target->protocol);
  if (!port) return fail(port.error());
  const auto flows = flows_between(*source, *destination, target->protocol, *port);
  if (!flows) return fail(flows.error());
  const net::Flow& flow = flows->front();
  evaluate::Verdict verdict = verdict_of(cluster, flow, options.fail_closed, options.attached);
  std::vector<NearRule> nearest = nearest_rules(cluster, flow, verdict);
  return Answer{*std::move(source), *std::move(destination), flow, std::move(verdict), std::move(nearest)};
}

/// "Pod shop/web (10.0.0.1)", "10.0.0.9"
std::string end_text(const Endpoint& end, const net::IpAddr& ip) {
  if (end.pod == nullptr) return ip.text();
  return "Pod " + end.pod->meta.namespace_ + "/" + end.pod->meta.name + " (" + ip.text() + ")";
}

void print_text(const Answer& answer, std::ostream& out) {
  const evaluate::Verdict& verdict = answer.verdict;
  out << (verdict.allowed ? "allowed: " : "denied: ") << end_text(answer.source, answer.flow.source) << " -> "
      << end_text(answer.destination, answer.flow.destination) << ", " << port_text(answer.flow) << '\n';
  if (!verdict.allowed) {
    const bool out_side = verdict.direction == net::Direction::egress;
    out << "  where: " << net::name_of(verdict.direction) << " of "
        << (out_side ? end_text(answer.source, answer.flow.source)
                     : end_text(answer.destination, answer.flow.destination))
        << '\n';
  }
  out << "  why: " << reason_text(verdict) << " (" << evaluate::name_of(verdict.reason) << ")\n";
  for (const PolicyVerdict& said : verdict.policies) {
    out << "  " << (verdict.allowed ? "admitted by " : "isolated by ") << policy_text(said) << " ("
        << net::name_of(said.direction) << ")\n";
  }
  for (const NearRule& near : answer.nearest) {
    out << "  nearest: " << near.policy << ' ' << near.rule << ' ' << near.text << '\n';
  }
  if (verdict.reason == Reason::default_deny && answer.nearest.empty()) {
    out << "  nearest: none of their rules admits this peer on any port, or this port from any peer\n";
  }
}

void print_json(const Answer& answer, const ExplainOptions& options, std::ostream& out) {
  const evaluate::Verdict& verdict = answer.verdict;
  std::string text;
  JsonWriter json(text);
  json.begin_object().field("from", options.source).field("to", answer.destination.text);
  if (net::has_ports(answer.flow.protocol)) json.field("port", answer.flow.destination_port.number);
  json.field("protocol", net::text_of(answer.flow.protocol));
  json.field("from_ip", answer.flow.source.text()).field("to_ip", answer.flow.destination.text());
  json.field("verdict", verdict.allowed ? "allow" : "deny").field("direction", net::name_of(verdict.direction));
  json.field("reason", evaluate::name_of(verdict.reason)).field("text", reason_text(verdict));
  json.key("policies").begin_array();
  for (const PolicyVerdict& said : verdict.policies) {
    json.begin_object().field("namespace", said.namespace_).field("name", said.name);
    json.field("direction", net::name_of(said.direction));
    if (said.rule != PolicyVerdict::npos) json.field("rule", rule_text(said));
    json.end_object();
  }
  json.end_array().key("nearest").begin_array();
  for (const NearRule& near : answer.nearest) {
    json.begin_object().field("policy", near.policy).field("rule", near.rule);
    json.field("fits", near.peer_fits ? "peer" : "port").field("text", near.text).end_object();
  }
  json.end_array().end_object();
  out << text << '\n';
}

}  // namespace

int explain_in(const store::Cluster& cluster, const ExplainOptions& options, std::ostream& out, std::ostream& err) {
  const auto answer = answer_to(cluster, options);
  if (!answer) {
    err << "error: " << answer.error().what() << '\n';
    return 1;
  }
  if (options.output == Output::json) {
    print_json(*answer, options, out);
  } else {
    print_text(*answer, out);
  }
  return answer->verdict.allowed ? 0 : 2;
}

int explain(const ExplainOptions& options, std::ostream& out, std::ostream& err) {
  const auto objects = load_objects(options.objects);
  if (!objects) {
    err << "error: " << objects.error().what() << '\n';
    return 1;
  }
  for (const api::Diagnostic& diagnostic : objects->diagnostics) {
    if (diagnostic.severity != api::Severity::note) err << diagnostic.text() << '\n';
  }
  return explain_in(objects->cluster, options, out, err);
}

}  // namespace podfence::cli
