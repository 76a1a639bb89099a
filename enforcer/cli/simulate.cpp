#include "enforcer/cli/simulate.h"

#include <algorithm>
#include <ostream>
#include <set>
#include <variant>

#include "enforcer/cli/endpoint.h"
#include "enforcer/cli/flows_file.h"
#include "policy/base/json_writer.h"

namespace podfence::cli {
namespace {

constexpr std::size_t most_flow_bytes = std::size_t{64} << 20U;

struct Answer {
  std::string from;
  std::string to;
  PortQuestion port;  // as it was asked
  net::Protocol protocol;
  net::Flow flow;
  Judged judged;
};

std::string_view word_of(bool allowed) {
  return allowed ? "allow" : "deny";
}

/// Each policy once, in the order of the verdict.
std::vector<std::string> policies_of(const evaluate::Verdict& verdict) {
  std::vector<std::string> names;
  for (const evaluate::PolicyVerdict& said : verdict.policies) {
    std::string name = said.namespace_ + "/" + said.name;
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(std::move(name));
  }
  return names;
}

/// Writes the answers as they come.
class Printer {
 public:
  Printer(Output output, std::ostream& out) : output_(output), out_(out) {}

  void print(const Answer& answer) {
    ++flows_;
    if (!answer.judged.verdict.allowed) ++denied_;
    if (!answer.judged.differences.empty()) ++differ_;
    if (output_ == Output::json) {
      out_ << (flows_ == 1 ? "[\n" : ",\n") << json(answer);
    } else {
      text(answer);
    }
  }

  void finish() {
    if (output_ == Output::json) {
      out_ << (flows_ == 0 ? "[]\n" : "\n]\n");
    } else {
      out_ << flows_ << (flows_ == 1 ? " flow: " : " flows: ") << flows_ - denied_ << " allowed, " << denied_
           << " denied, " << differ_ << " where program and evaluator differ\n";
    }
  }

  bool any_differs() const { return differ_ > 0; }

 private:
  static void write_port(JsonWriter& json, const PortQuestion& port) {
    if (const auto* number = std::get_if<net::Port>(&port)) {
      json.field("port", number->number);
    } else if (const auto* name = std::get_if<std::string>(&port)) {
      json.field("port", *name);
    } else {
      json.key("port").null();
    }
  }

  static void write_differences(JsonWriter& json, const std::vector<Difference>& differences) {
    json.key("differs").begin_array();
    for (const Difference& d : differences) {
      json.begin_object().field("node", d.node).field("packet", d.what);
      json.field("program", word_of(d.program_allows)).field("evaluator", word_of(d.evaluator_allows)).end_object();
    }
    json.end_array();
  }

  static std::string json(const Answer& answer) {
    const evaluate::Verdict& verdict = answer.judged.verdict;
    std::string line;
    JsonWriter json(line);
    json.begin_object().field("from", answer.from).field("to", answer.to);
    write_port(json, answer.port);
    json.field("protocol", net::text_of(answer.protocol)).field("verdict", word_of(verdict.allowed));
    json.field("direction", net::name_of(verdict.direction)).key("policies").begin_array();
    for (const std::string& name : policies_of(verdict)) json.value(name);
    json.end_array().field("reason", evaluate::name_of(verdict.reason));
    json.field("from_ip", answer.flow.source.text()).field("to_ip", answer.flow.destination.text());
    if (!answer.judged.differences.empty()) write_differences(json, answer.judged.differences);
    json.end_object();
    return line;
  }

  void text(const Answer& answer) {
    const evaluate::Verdict& verdict = answer.judged.verdict;
    out_ << (verdict.allowed ? "allow " : "deny  ") << answer.from << " -> " << answer.to << ' ';
    if (const auto* name = std::get_if<std::string>(&answer.port)) out_ << *name << '=';
    if (net::has_ports(answer.protocol)) out_ << answer.flow.destination_port.number << '/';
    out_ << net::text_of(answer.flow.protocol);
    // Between dual-stack pods every pair is asked twice: names alone do not tell the lines apart.
    if (answer.flow.source.family() == net::Family::ipv6) out_ << " over IPv6";
    out_ << "  ";
    if (!verdict.allowed) out_ << net::name_of(verdict.direction) << ' ';
    out_ << evaluate::name_of(verdict.reason);
    for (const std::string& name : policies_of(verdict)) out_ << ' ' << name;
    out_ << '\n';
    for (const Difference& d : answer.judged.differences) {
      out_ << "  DIFFERS " << (d.node.empty() ? "" : "on node " + d.node + ", ") << d.what << ": program "
           << word_of(d.program_allows) << ", evaluator " << word_of(d.evaluator_allows) << '\n';
    }
  }

  Output output_;
  std::ostream& out_;
  std::size_t flows_ = 0;
  std::size_t denied_ = 0;
  std::size_t differ_ = 0;
};

Result<Answer> answer_to(const store::Cluster& cluster, Judge& judge, const FlowQuestion& question) {
  const auto source = find_endpoint(cluster, question.from);
  if (!source) return fail(Error(source.error()).in("from"));
  const auto destination = find_endpoint(cluster, question.to);
  if (!destination) return fail(Error(destination.error()).in("to"));
  const auto port = find_port(*destination, question.port, question.protocol);
  if (!port) return fail(Error(port.error()).in("port"));
  const auto flows = flows_between(*source, *destination, question.protocol, *port);
  if (!flows) return fail(flows.error());
  const net::Flow& flow = flows->front();
  return Answer{question.from, question.to, question.port, question.protocol, flow, judge.judge(flow)};
}

/// All questions are checked, so that one run tells everything that is wrong. Nothing is printed when one is.
int simulate_file(const SimulateOptions& options, const store::Cluster& cluster, Judge& judge, Printer& printer,
                  std::ostream& err) {
  const auto text = read_file(options.flows, most_flow_bytes);
  if (!text) return err << "error: " << text.error().what() << '\n', 1;
  const auto questions = parse_flows(options.flows, *text);
  if (!questions) return err << "error: " << questions.error().what() << '\n', 1;
  std::vector<Answer> answers;
  bool bad = false;
  for (const FlowQuestion& question : *questions) {
    auto answer = answer_to(cluster, judge, question);
    if (answer) {
      answers.push_back(std::move(*answer));
    } else {
      err << "error: " << question.where << ": " << answer.error().what() << '\n';
      bad = true;
    }
  }
  if (bad) return 1;
  for (const Answer& answer : answers) printer.print(answer);
  return 0;
}

using ProtocolPort = std::pair<net::Protocol, net::Port>;

/// The numbers that pods or policies name: of a range both ends. Names of policies are the pods' own.
std::set<ProtocolPort> ports_named_in(const store::Cluster& cluster) {
  std::set<ProtocolPort> ports;
  for (const auto& [key, pod] : cluster.pods()) {
    for (const api::ContainerPort& port : pod.named_ports) ports.emplace(port.protocol, port.port);
  }
  for (const auto& [key, policy] : cluster.policies()) {
    for (const net::Direction direction : net::directions) {
      for (const api::PolicyRule& rule : policy.rules(direction)) {
        for (const api::PortSpec& spec : rule.ports) {
          const auto* range = std::get_if<net::PortRange>(&spec.port);
          if (range == nullptr) continue;
          ports.emplace(spec.protocol, range->first);
          ports.emplace(spec.protocol, range->last);
        }
      }
    }
  }
  if (ports.empty()) ports.emplace(net::tcp, net::Port{80});
  return ports;
}

void simulate_pairs(const store::Cluster& cluster, Judge& judge, Printer& printer, std::ostream& err) {
  std::vector<Endpoint> pods;
  for (const auto& [key, pod] : cluster.pods()) {
    const std::string name = key.first + "/" + key.second;
    if (pod.selectable()) {
      pods.push_back({name, &pod, pod.ips});
    } else if (!pod.terminal() && !pod.host_network) {
      err << "note: Pod " << name << " has no address (status.podIPs) and is left out\n";
    }
  }
  const std::set<ProtocolPort> ports = ports_named_in(cluster);
  for (const Endpoint& from : pods) {
    for (const Endpoint& to : pods) {
      if (from.pod == to.pod) continue;
      for (const auto& [protocol, port] : ports) {
        const auto flows = flows_between(from, to, protocol, port);
        if (!flows) continue;  // no common family
        for (const net::Flow& flow : *flows) {
          printer.print({from.text, to.text, port, protocol, flow, judge.judge(flow)});
        }
      }
    }
  }
}

}  // namespace

int simulate_in(const store::Cluster& cluster, Judge& judge, const SimulateOptions& options, std::ostream& out,
                std::ostream& err) {
  Printer printer(options.output, out);
  if (options.flows.empty()) {
    simulate_pairs(cluster, judge, printer, err);
  } else if (const int code = simulate_file(options, cluster, judge, printer, err); code != 0) {
    return code;
  }
  printer.finish();
  return printer.any_differs() ? 2 : 0;
}

int simulate(const SimulateOptions& options, std::ostream& out, std::ostream& err) {
  const auto objects = load_objects(options.objects);
  if (!objects) {
    err << "error: " << objects.error().what() << '\n';
    return 1;
  }
  for (const api::Diagnostic& diagnostic : objects->diagnostics) {
    if (diagnostic.severity != api::Severity::note) err << diagnostic.text() << '\n';
  }
  Judge judge(objects->cluster, options.fail_closed);
  return simulate_in(objects->cluster, judge, options, out, err);
}

}  // namespace podfence::cli
