// Flow records as OTLP log records. The names of attributes are here and nowhere else: those of network policy are not
// standard yet.
#include <algorithm>
#include <array>

#include "enforcer/flow/filter.h"
#include "enforcer/flow/history.h"
#include "enforcer/sink/otlp.h"
#include "policy/base/json_writer.h"

namespace podfence::sink {
namespace {

using flow::LoggedLine;

constexpr int severity_info = 9;
constexpr int severity_warn = 13;
constexpr int severity_error = 17;

void text_value(JsonWriter& json, std::string_view text) {
  json.begin_object().field("stringValue", text).end_object();
}

void attribute(JsonWriter& json, std::string_view name, std::string_view text) {
  if (text.empty()) return;
  json.begin_object().field("key", name).key("value");
  text_value(json, text);
  json.end_object();
}

/// 64-bit numbers are texts in the JSON of protobuf.
void number(JsonWriter& json, std::string_view name, std::uint64_t value) {
  json.begin_object().field("key", name).key("value").begin_object();
  json.field("intValue", std::to_string(value)).end_object().end_object();
}

std::string nanoseconds(flow::TimePoint t) {
  return std::to_string(std::chrono::duration_cast<std::chrono::nanoseconds>(t.time_since_epoch()).count());
}

void endpoint(JsonWriter& json, const std::string& side, const flow::Endpoint& end) {
  if (end.ip) attribute(json, side + ".address", end.ip->text());
  if (end.port) number(json, side + ".port", end.port->number);
  const auto& k8s = end.k8s;
  attribute(json, side + ".k8s.namespace.name", k8s.namespace_);
  attribute(json, side + ".k8s.pod.name", k8s.pod);
  attribute(json, side + ".k8s.pod.uid", k8s.pod_uid);
  attribute(json, side + ".k8s.owner.kind", k8s.workload_kind);
  attribute(json, side + ".k8s.owner.name", k8s.workload);
  attribute(json, side + ".k8s.node.name", k8s.node);
  for (const auto& [key, value] : k8s.labels.value_or(flow::Labels{})) {
    attribute(json, std::string(side).append(".k8s.pod.label.").append(key), value);
  }
}

void policies(JsonWriter& json, const LoggedLine& line) {
  if (line.policies.empty()) return;
  json.begin_object().field("key", "network.policy." + line.direction);
  json.key("value").begin_object().key("arrayValue").begin_object().key("values").begin_array();
  for (const auto& policy : line.policies) text_value(json, policy.namespace_ + "/" + policy.name);
  json.end_array().end_object().end_object().end_object();
  const auto& first = line.policies.front();
  attribute(json, "security_rule.name", first.name);
  attribute(json, "security_rule.uuid", first.uid);
  attribute(json, "security_rule.ruleset.name", first.namespace_);
}

int severity_of(const LoggedLine& line) {
  if (line.type == "detection") return severity_error;
  return line.type == "agent" ? severity_info : severity_warn;
}

void record(JsonWriter& json, const LoggedLine& line, std::string_view text) {
  const int severity = severity_of(line);
  json.begin_object()
      .field("timeUnixNano", nanoseconds(line.time))
      .field("observedTimeUnixNano", nanoseconds(line.end));
  json.field("severityNumber", severity);
  json.field("severityText", severity == severity_info ? "INFO" : severity == severity_warn ? "WARN" : "ERROR");
  json.field("eventName", "network.policy." + line.type);
  json.key("body");
  text_value(json, text);
  json.key("attributes").begin_array();
  attribute(json, "log.record.uid", line.id);
  attribute(json, "network.policy.verdict", line.verdict);
  attribute(json, "network.policy.reason", line.reason);
  attribute(json, "network.policy.direction", line.direction);
  attribute(json, "network.policy.attribution", line.attribution);
  if (!line.direction.empty()) policies(json, line);
  endpoint(json, "source", line.source);
  endpoint(json, "destination", line.destination);
  attribute(json, "network.transport", line.transport);
  if (line.type == "flow") {
    number(json, "network.flow.count", line.count);
    attribute(json, "flow.end", flow::text_of(line.end));
    if (line.scan && line.scan->ports > 0) number(json, "network.flow.distinct_ports", line.scan->ports);
    if (line.scan && line.scan->ends > 0) number(json, "network.flow.distinct_addresses", line.scan->ends);
  }
  if (line.type == "loss") {
    attribute(json, "network.policy.loss.stage", line.stage);
    number(json, "network.policy.loss.count", line.lost);
  }
  if (line.type == "agent") attribute(json, "network.policy.agent.event", line.event);
  json.end_array().end_object();
}

}  // namespace

std::string otlp_json(const OtlpSettings& settings, const std::vector<std::string>& lines) {
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("resourceLogs").begin_array().begin_object();
  json.key("resource").begin_object().key("attributes").begin_array();
  attribute(json, "service.name", "podfence");
  attribute(json, "service.version", settings.version);
  attribute(json, "k8s.node.name", settings.node);
  attribute(json, "k8s.cluster.name", settings.cluster);
  json.end_array().end_object();
  json.key("scopeLogs").begin_array().begin_object();
  json.key("scope").begin_object().field("name", "podfence.flow").field("version", "v1").end_object();
  json.key("logRecords").begin_array();
  flow::LineParser parser;
  for (const auto& line : lines) {
    if (const auto parsed = parser.parse(line)) record(json, *parsed, line);
  }
  json.end_array().end_object().end_array().end_object().end_array().end_object();
  return out;
}

}  // namespace podfence::sink
