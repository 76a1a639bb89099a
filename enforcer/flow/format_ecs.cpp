// Elastic Common Schema 8. It has no fields for the Kubernetes objects at both ends of a connection: ours are
// source.k8s and destination.k8s, and podfence.* for what a loss is.
#include "enforcer/flow/fields.h"
#include "enforcer/flow/format.h"

namespace podfence::flow {
namespace {

constexpr std::string_view ecs_version = "8.11.0";

bool is_set(TimePoint t) {
  return t != TimePoint{};
}
std::string time_or_nothing(TimePoint t) {
  return is_set(t) ? text_of(t) : std::string();
}

/// "app=web": keys hold dots, which would be paths.
Texts label_texts(const Endpoint& end) {
  Texts texts;
  for (const auto& [key, value] : end.k8s.labels.value_or(Labels{}))
    texts.push_back(std::string(key).append("=").append(value));
  return texts;
}

Fields end_fields(const Endpoint& end) {
  const std::string ip = end.ip ? end.ip->text() : std::string();
  return {
      {"address", ip},
      {"ip", ip},
      {"port", end.port ? Value(end.port->number) : Value()},
      {"k8s.namespace", end.k8s.namespace_},
      {"k8s.pod", end.k8s.pod},
      {"k8s.pod_uid", end.k8s.pod_uid},
      {"k8s.workload_kind", end.k8s.workload_kind},
      {"k8s.workload", end.k8s.workload},
      {"k8s.node", end.k8s.node},
      {"k8s.port_name", end.k8s.port_name},
      {"k8s.labels", label_texts(end)},
  };
}

/// One text of each policy that has it.
template <class Get>
Texts of_policies(const LoggedLine& line, Get get) {
  Texts texts;
  for (const PolicyRef& policy : line.policies) {
    if (const std::string& text = get(policy); !text.empty()) texts.push_back(text);
  }
  return texts;
}

Texts addresses(const LoggedLine& line) {
  Texts texts;
  for (const Endpoint* end : {&line.source, &line.destination}) {
    if (end->ip) texts.push_back(end->ip->text());
  }
  if (!line.scan) return texts;
  for (const auto& ip : line.scan->end_examples) texts.push_back(ip.text());
  return texts;
}

/// How many different ones an event stands for.
Fields scan_fields(const LoggedLine& line) {
  if (!line.scan) return {};
  const Scan& scan = *line.scan;
  return {{"ports", scan.ports > 0 ? Value(scan.ports) : Value()},
          {"addresses", scan.ends > 0 ? Value(scan.ends) : Value()},
          {"at_least", scan.at_least ? Value(true) : Value()}};
}

struct Outcome {
  std::string_view verdict;
  std::string_view type;
  std::string_view outcome;
};
constexpr Outcome outcomes[] = {
    {"allow", "allowed", "success"},
    {"deny", "denied", "failure"},
    {"would_deny", "allowed", "unknown"},
    {"error", "error", "unknown"},
};

Outcome outcome_of(std::string_view verdict) {
  for (const Outcome& outcome : outcomes) {
    if (outcome.verdict == verdict) return outcome;
  }
  return {verdict, "info", "unknown"};
}

/// As Elastic's own rules count.
std::uint64_t severity_of(std::string_view word) {
  return word == "critical" ? 99 : word == "high" ? 73 : word == "medium" ? 47 : 21;
}

/// What every event has, around what is its own.
std::string event(const LoggedLine& line, std::string_view action, const Texts& types, std::string_view outcome,
                  const Fields& own) {
  const bool alert = line.type == "detection";
  Fields fields{
      {"@timestamp", text_of(line.time)},
      {"ecs.version", ecs_version},
      {"event.kind", alert ? "alert" : "event"},
      {"event.module", "podfence"},
      {"event.dataset", "podfence.flow"},
      {"event.category", Texts{line.type == "agent" ? "configuration" : "network"}},
      {"event.type", types},
      {"event.action", action},
      {"event.outcome", outcome},
      {"event.reason", line.reason},
      {"event.severity", alert ? Value(severity_of(line.severity)) : Value()},
      {"event.id", line.id},
      {"event.start", text_of(line.time)},
      {"event.end", time_or_nothing(line.end)},
      {"event.created", time_or_nothing(line.observed)},
      {"observer.vendor", "Podfence"},
      {"observer.type", "firewall"},
      {"observer.name", line.node},
      {line.direction == "egress" ? "observer.ingress.interface.name" : "observer.egress.interface.name",
       line.interface},
      {"orchestrator.type", "kubernetes"},
      {"orchestrator.cluster.name", line.cluster},
  };
  fields.insert(fields.end(), own.begin(), own.end());
  return json_of(fields, Texting::escaped);
}

std::string flow_line(const LoggedLine& line) {
  const Outcome outcome = outcome_of(line.verdict);
  return event(line, line.verdict, {"connection", std::string(outcome.type)}, outcome.outcome,
               {
                   {"source", end_fields(line.source)},
                   {"destination", end_fields(line.destination)},
                   {"network.type", line.family},
                   {"network.transport", line.transport},
                   {"network.iana_number", line.protocol ? std::to_string(*line.protocol) : std::string()},
                   {"network.direction", line.direction},
                   {"network.packets", line.count},
                   {"network.bytes", line.bytes},
                   {"rule.name", of_policies(
                                     line, [](const PolicyRef& p) -> const auto& { return p.name; })},
                   {"rule.id", of_policies(
                                   line, [](const PolicyRef& p) -> const auto& { return p.uid; })},
                   {"rule.ruleset", of_policies(
                                        line, [](const PolicyRef& p) -> const auto& { return p.namespace_; })},
                   {"related.ip", addresses(line)},
                   {"podfence.scan", scan_fields(line)},
               });
}

std::string loss_line(const LoggedLine& line) {
  const std::string message = std::to_string(line.lost) + " denied packets that no record tells of";
  return event(line, "loss", {"info"}, "unknown",
               {
                   {"message", message},
                   {"podfence.loss.stage", line.stage},
                   {"podfence.loss.packets", line.lost},
                   {"podfence.loss.exact", line.exact},
               });
}

std::string detection_line(const LoggedLine& line) {
  std::vector<Fields> evidence;
  for (const auto& [name, number] : line.evidence) evidence.push_back({{"name", name}, {"value", number}});
  return event(line, line.detection, {"info"}, "unknown",
               {
                   {"message", line.detail},
                   {"source", end_fields(line.source)},
                   {"destination", end_fields(line.destination)},
                   {"rule.name", line.detection},
                   {"related.ip", addresses(line)},
                   {"podfence.detection.severity", line.severity},
                   {"podfence.detection.by", line.by},
                   {"podfence.detection.evidence", evidence},
               });
}

}  // namespace

std::optional<std::string> ecs_line(const LoggedLine& line) {
  if (line.type == "flow") return flow_line(line);
  if (line.type == "loss") return loss_line(line);
  if (line.type == "detection") return detection_line(line);
  return event(line, line.event, {"info"}, "success", {{"message", line.detail}});
}

}  // namespace podfence::flow
