// The JSON form of Cilium's flow.proto and observer.proto (1.20), as `hubble observe --input-file` reads it. No field
// of our own: old readers skip a line with a field that they do not know.
#include <algorithm>
#include <array>

#include "enforcer/flow/fields.h"
#include "enforcer/flow/format.h"

namespace podfence::flow {
namespace {

constexpr std::uint32_t type_drop = 1;
constexpr std::uint32_t type_policy_verdict = 5;  // the only type for which Hubble prints the policies' names

struct Word {
  std::string_view ours;
  std::string_view theirs;
};
constexpr std::array<Word, 4> verdicts{{
    {"allow", "FORWARDED"},
    {"deny", "DROPPED"},
    {"would_deny", "AUDIT"},
    {"error", "ERROR"},
}};

struct Cause {
  std::string_view ours;
  std::string_view theirs;
  std::uint32_t number;
  std::uint32_t event_type;
};
constexpr std::array<Cause, 8> causes{{
    {"default_deny", "POLICY_DENIED", 133, type_policy_verdict},
    {"explicit_deny", "POLICY_DENY", 181, type_policy_verdict},
    {"admin_deny", "POLICY_DENY", 181, type_policy_verdict},
    {"baseline_deny", "POLICY_DENY", 181, type_policy_verdict},
    {"fail_closed", "NO_CONFIGURATION_AVAILABLE_TO_PERFORM_POLICY_DECISION", 165, type_drop},
    {"endpoint_not_ready", "DROP_EP_NOT_READY", 203, type_drop},
    {"spoofed_source", "INVALID_SOURCE_IP", 132, type_drop},
    {"invalid_state", "UNKNOWN_CONNECTION_TRACKING_STATE", 163, type_drop},
}};
constexpr std::array<Word, 8> tcp_flags{{
    {"F", "FIN"},
    {"S", "SYN"},
    {"R", "RST"},
    {"P", "PSH"},
    {"A", "ACK"},
    {"U", "URG"},
    {"E", "ECE"},
    {"C", "CWR"},
}};

template <class List>
auto find(const List& list, std::string_view ours) {
  return std::find_if(list.begin(), list.end(), [&](const auto& entry) { return entry.ours == ours; });
}

std::string node_name(const LoggedLine& line) {
  return line.cluster.empty() ? line.node : line.cluster + '/' + line.node;
}

Fields end_fields(const LoggedLine& line, const Endpoint& end) {
  const bool world = end.type == EndpointType::world;
  const bool node = end.type == EndpointType::node;
  const bool here = end.k8s.node == line.node;
  Value identity;
  if (world) identity = std::uint32_t{2};
  if (node) identity = here ? std::uint32_t{1} : std::uint32_t{6};
  Texts labels;
  if (world) labels = {"reserved:world"};
  if (node) labels = {here ? "reserved:host" : "reserved:remote-node"};
  for (const auto& [key, value] : end.k8s.labels.value_or(Labels{}))
    labels.push_back(std::string("k8s:").append(key).append("=").append(value));
  const bool inside = !world && end.type != EndpointType::unknown;
  return {
      {"identity", identity},
      {"cluster_name", inside ? line.cluster : std::string()},
      {"namespace", end.k8s.namespace_},
      {"labels", labels},
      {"pod_name", end.k8s.pod},
      {"workloads", end.k8s.workload.empty()
                        ? std::vector<Fields>{}
                        : std::vector<Fields>{{{"name", end.k8s.workload}, {"kind", end.k8s.workload_kind}}}},
  };
}

std::optional<std::uint64_t> port_of(const Endpoint& end) {
  return end.port ? std::optional<std::uint64_t>(end.port->number) : std::nullopt;
}

Fields layer4(const LoggedLine& line, const Endpoint& source, const Endpoint& destination) {
  const Fields ports{{"source_port", port_of(source)}, {"destination_port", port_of(destination)}};
  const Fields icmp{{"type", line.icmp_type}, {"code", line.icmp_code}};
  switch (line.protocol.value_or(0)) {
    case 6: {
      Fields flags;
      for (const Word& flag : tcp_flags) {
        if (line.tcp_flags.find(flag.ours) != std::string::npos) flags.push_back({flag.theirs, true});
      }
      Fields tcp = ports;
      tcp.push_back({"flags", std::move(flags)});
      return {{"TCP", std::move(tcp)}};
    }
    case 17:
      return {{"UDP", ports}};
    case 132:
      return {{"SCTP", ports}};
    case 1:
      return {{"ICMPv4", icmp}};
    case 58:
      return {{"ICMPv6", icmp}};
    default:
      return {};
  }
}

/// What Hubble prints last. It names the policies too, because Hubble does so only when asked to.
std::string summary(const LoggedLine& line) {
  std::string text = line.protocol && *line.protocol < 256 ? net::text_of({static_cast<std::uint8_t>(*line.protocol)})
                                                           : line.transport;
  std::string flags;
  for (const Word& flag : tcp_flags) {
    if (line.tcp_flags.find(flag.ours) != std::string::npos) {
      flags += (flags.empty() ? " Flags: " : ", ") + std::string(flag.theirs);
    }
  }
  text += flags;
  if (line.count > 1) text += "; " + std::to_string(line.count) + " packets";
  if (line.scan && line.scan->ports > 0) text += "; " + std::to_string(line.scan->ports) + " ports";
  if (line.scan && line.scan->ends > 0) text += "; " + std::to_string(line.scan->ends) + " addresses";
  if (!line.reason.empty()) text += "; " + line.reason;
  for (std::size_t i = 0; i < line.policies.size(); ++i) {
    text += (i == 0 ? " by " : ", ") + line.policies[i].namespace_ + '/' + line.policies[i].name;
  }
  return text;
}

std::vector<Fields> policies(const LoggedLine& line) {
  std::vector<Fields> list;
  for (const PolicyRef& policy : line.policies) {
    list.push_back({{"name", policy.name},
                    {"namespace", policy.namespace_},
                    {"revision", static_cast<std::uint64_t>(std::max<std::int64_t>(policy.generation, 0))},
                    {"kind", "NetworkPolicy"}});
  }
  return list;
}

std::string flow_line(const LoggedLine& line) {
  // Theirs are the ends of the packet; ours those of the connection.
  const Endpoint& source = line.reply ? line.destination : line.source;
  const Endpoint& destination = line.reply ? line.source : line.destination;
  const auto* const verdict = find(verdicts, line.verdict);
  const auto* const cause = find(causes, line.reason);
  const bool dropped = line.verdict == "deny" && cause != causes.end();
  const bool egress = line.direction == "egress";
  const bool allowed = line.verdict == "allow";
  const Fields aggregate{
      {egress ? "egress_flow_count" : "ingress_flow_count", std::min<std::uint64_t>(line.count, UINT32_MAX)}};
  const auto type = allowed || cause == causes.end() ? type_policy_verdict : cause->event_type;
  return json_of(
      {
          {"flow.time", text_of(line.time)},
          {"flow.uuid", line.id},
          {"flow.verdict", verdict == verdicts.end() ? std::string_view("VERDICT_UNKNOWN") : verdict->theirs},
          {"flow.drop_reason", dropped ? Value(cause->number) : Value()},
          {"flow.IP.source", source.ip ? source.ip->text() : std::string()},
          {"flow.IP.destination", destination.ip ? destination.ip->text() : std::string()},
          {"flow.IP.ipVersion", line.family == "ipv4"   ? "IPv4"
                                : line.family == "ipv6" ? "IPv6"
                                                        : ""},
          {"flow.l4", layer4(line, source, destination)},
          {"flow.source", end_fields(line, source)},
          {"flow.destination", end_fields(line, destination)},
          {"flow.Type", "L3_L4"},
          {"flow.node_name", node_name(line)},
          {"flow.event_type.type", line.verdict == "error" ? Value() : Value(type)},  // what was not ours to judge
          {"flow.event_type.sub_type", type == type_drop ? Value(cause->number) : Value()},
          {"flow.traffic_direction", egress                        ? "EGRESS"
                                     : line.direction == "ingress" ? "INGRESS"
                                                                   : ""},
          {"flow.drop_reason_desc", dropped ? cause->theirs : std::string_view()},
          {"flow.is_reply", line.reply},  // without it the direction counts as unknown
          {"flow.interface.name", line.interface},
          {"flow.Summary", summary(line)},
          {egress ? (allowed ? "flow.egress_allowed_by" : "flow.egress_denied_by")
                  : (allowed ? "flow.ingress_allowed_by" : "flow.ingress_denied_by"),
           policies(line)},
          {"flow.aggregate", line.count > 1 ? Value(aggregate) : Value()},
          {"node_name", node_name(line)},
          {"time", text_of(line.time)},
      },
      Texting::printable);
}

std::string lost_line(const LoggedLine& line) {
  const bool sink = line.stage.starts_with("sink:");
  return json_of(
      {
          {"lost_events.source", sink ? "OBSERVER_EVENTS_QUEUE" : "PERF_EVENT_RING_BUFFER"},
          {"lost_events.num_events_lost", line.lost},
          {"node_name", node_name(line)},
          {"time", text_of(line.time)},
      },
      Texting::printable);
}

}  // namespace

std::optional<std::string> hubble_line(const LoggedLine& line) {
  if (line.type == "flow") return flow_line(line);
  if (line.type == "loss") return lost_line(line);
  return std::nullopt;
}

}  // namespace podfence::flow
