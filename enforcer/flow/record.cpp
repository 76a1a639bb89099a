#include "enforcer/flow/record.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

#include "policy/base/json_writer.h"

namespace podfence::flow {
namespace {

/// How much of a record is written: names are cut first, then the list of policies goes.
struct Room {
  std::size_t name;      // bytes of a name
  std::size_t policies;  // of the list
  bool labels;
};
constexpr std::array<Room, 3> rooms{Room{256, most_policies, true}, Room{48, most_policies, true}, Room{48, 0, false}};

class Line {
 public:
  Line(std::string& out, Room room) : json_(out), room_(room) { json_.begin_object(); }

  JsonWriter& json() { return json_; }

  void text(std::string_view name, std::string_view value) {
    if (!value.empty()) json_.field(name, cut(value, room_.name));
  }
  template <class T>
  void maybe(std::string_view name, const std::optional<T>& value) {
    if (value) json_.field(name, *value);
  }

  void policy(const PolicyRef& policy) {
    json_.begin_object().field("kind", "NetworkPolicy");
    text("namespace", policy.namespace_);
    text("name", policy.name);
    text("uid", policy.uid);
    if (policy.generation != 0) json_.field("generation", policy.generation);
  }

  void policies(const std::vector<PolicyRef>& all) {
    if (all.empty()) return;
    const std::size_t shown = std::min(all.size(), room_.policies);
    json_.key("policies").begin_array();
    for (std::size_t i = 0; i < shown; ++i) {
      policy(all[i]);
      if (!all[i].rule.empty()) json_.field("rule", all[i].rule);
      json_.field("role", all[i].rule.empty() ? "selecting" : "matched").end_object();
    }
    json_.end_array();
    if (shown < all.size()) json_.field("policies_truncated", true);
  }

  /// Also an empty one: that they are recorded, and the pod has none of them.
  void labels(const Labels& all) {
    json_.key("labels").begin_object();
    for (const auto& [key, value] : all) json_.field(key, cut(value, std::min(room_.name, longest_label_value)));
    json_.end_object();
  }

  void endpoint(std::string_view name, const Endpoint& end) {
    json_.key(name).begin_object().field("type", name_of(end.type));
    if (end.ip) json_.field("ip", end.ip->text());
    if (end.port) json_.field("port", end.port->number);
    const K8s& k8s = end.k8s;
    const std::array<std::pair<std::string_view, const std::string*>, 7> fields{{{"namespace", &k8s.namespace_},
                                                                                 {"pod", &k8s.pod},
                                                                                 {"pod_uid", &k8s.pod_uid},
                                                                                 {"workload_kind", &k8s.workload_kind},
                                                                                 {"workload", &k8s.workload},
                                                                                 {"node", &k8s.node},
                                                                                 {"port_name", &k8s.port_name}}};
    const bool labelled = k8s.labels && room_.labels;
    if (labelled ||
        std::any_of(fields.begin(), fields.end(), [](const auto& field) { return !field.second->empty(); })) {
      json_.key("k8s").begin_object();
      for (const auto& [key, value] : fields) text(key, *value);
      if (labelled) labels(*k8s.labels);
      json_.end_object();
    }
    json_.end_object();
  }

 private:
  JsonWriter json_;
  Room room_;
};

std::string lower_case(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

void write_network(JsonWriter& json, const FlowRecord& record) {
  if (!record.family && !record.protocol) return;
  json.key("network").begin_object();
  if (record.family) json.field("type", *record.family == net::Family::ipv4 ? "ipv4" : "ipv6");
  if (record.protocol) {
    json.field("transport", lower_case(net::text_of(*record.protocol))).field("iana_number", record.protocol->number);
  }
  if (record.tcp_flags) json.field("tcp_flags", tcp_flag_letters(*record.tcp_flags));
  if (record.icmp_type) json.field("icmp_type", *record.icmp_type);
  if (record.icmp_code) json.field("icmp_code", *record.icmp_code);
  if (record.reply) json.field("reply", true);
  json.end_object();
}

void write_scan(JsonWriter& json, const FlowRecord& record) {
  if (!record.scan) return;
  const Scan& scan = *record.scan;
  const bool sources = record.direction == net::Direction::ingress || record.reason == Reason::spoofed_source;
  json.key("scan").begin_object();
  if (scan.ports > 0) {
    json.field("distinct_ports", scan.ports).key("ports").begin_array();
    for (const auto port : scan.port_examples) json.value(port.number);
    json.end_array();
  }
  if (scan.ends > 0) {
    json.field(sources ? "distinct_sources" : "distinct_destinations", scan.ends);
    json.key(sources ? "sources" : "destinations").begin_array();
    for (const auto& ip : scan.end_examples) json.value(ip.text());
    json.end_array();
  }
  if (scan.at_least) json.field("at_least", true);
  json.end_object();
}

}  // namespace

std::string text_of(const Labels::value_type& label) {
  std::string text = label.first;
  text += '=';
  return text += label.second;
}

std::string_view name_of(EndpointType type) {
  constexpr std::array<std::string_view, 4> names{"pod", "node", "world", "unknown"};
  return names.at(static_cast<std::size_t>(type));
}

std::string_view name_of(Verdict verdict) {
  constexpr std::array<std::string_view, 3> names{"deny", "error", "allow"};
  return names.at(static_cast<std::size_t>(verdict));
}

std::string_view name_of(Reason reason) {
  constexpr std::array<std::string_view, 7> names{"default_deny",   "fail_closed",   "spoofed_source", "unattributed",
                                                  "explicit_allow", "default_allow", "not_selected"};
  return names.at(static_cast<std::size_t>(reason));
}

std::string_view name_of(Attribution attribution) {
  constexpr std::array<std::string_view, 3> names{"set", "stale", "none"};
  return names.at(static_cast<std::size_t>(attribution));
}

std::string_view name_of(Severity severity) {
  constexpr std::array<std::string_view, 3> names{"medium", "high", "critical"};
  return names.at(static_cast<std::size_t>(severity));
}

std::string_view cut(std::string_view text, std::size_t most) {
  if (text.size() <= most) return text;
  while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xc0U) == 0x80) --most;
  return text.substr(0, most);
}

std::string tcp_flag_letters(std::uint8_t flags) {
  constexpr std::string_view letters = "FSRPAUEC";  // from the lowest bit
  std::string text;
  for (std::size_t bit = 0; bit < letters.size(); ++bit) {
    if ((flags >> bit & 1U) != 0) text += letters[bit];
  }
  return text;
}

RecordWriter::RecordWriter(std::string node, std::string cluster, std::string instance)
    : node_(std::move(node)), cluster_(std::move(cluster)), instance_(std::move(instance)) {}

namespace {

struct Origin {
  const std::string& node;
  const std::string& cluster;
  const std::string& instance;
  std::uint64_t sequence;
};

std::string id_text(const Origin& origin, std::size_t most) {
  std::string id(cut(origin.node, most));
  return id.append(":").append(cut(origin.instance, most)).append(":").append(std::to_string(origin.sequence));
}

/// Writes the line with as much in it as fits. `body(line)` writes what is between the times and the end.
template <class Body>
std::string fitting(const Origin& origin, std::string_view type, TimePoint time, Body body) {
  std::string out;
  for (const Room room : rooms) {
    out.clear();
    Line line(out, room);
    JsonWriter& json = line.json();
    json.field("schema", "podfence.flow/v1").field("type", type);
    json.field("id", id_text(origin, room.name)).field("seq", origin.sequence).field("time", text_of(time));
    body(line);
    json.end_object();
    out += '\n';
    if (out.size() <= longest_line) break;
  }
  return out;
}

}  // namespace

std::string RecordWriter::line(const FlowRecord& record, std::uint64_t sequence, TimePoint observed) const {
  return fitting({node_, cluster_, instance_, sequence}, "flow", record.time, [&](Line& line) {
    JsonWriter& json = line.json();
    const bool deny = record.verdict == Verdict::deny;
    json.field("end", text_of(record.end)).field("observed", text_of(observed));
    line.text("cluster", cluster_);
    line.text("node", node_);
    if (record.verdict != Verdict::error) {
      json.field("reporter", record.direction == net::Direction::ingress ? "destination" : "source");
      json.field("direction", net::name_of(record.direction));
    }
    json.field("verdict", name_of(record.verdict));
    // What a rule that is not ours did is not known.
    if (record.verdict != Verdict::error) json.field("action", deny ? "drop" : "accept");
    json.field("enforced", record.verdict != Verdict::error).field("reason", name_of(record.reason));
    json.field("attribution", name_of(record.attribution));
    line.policies(record.policies);
    line.endpoint("source", record.source);
    line.endpoint("destination", record.destination);
    write_network(json, record);
    write_scan(json, record);
    line.text("interface", record.interface);
    json.field("count", record.count).field("bytes", record.bytes);
  });
}

std::string RecordWriter::line(const LossRecord& record, std::uint64_t sequence) const {
  return fitting({node_, cluster_, instance_, sequence}, "loss", record.time, [&](Line& line) {
    line.json().field("end", text_of(record.end));
    line.text("cluster", cluster_);
    line.text("node", node_);
    line.text("stage", record.stage);
    line.json().field("lost", record.lost).field("exact", record.exact);
    line.maybe("group", record.group);
  });
}

std::string RecordWriter::line(const AgentRecord& record, std::uint64_t sequence) const {
  return fitting({node_, cluster_, instance_, sequence}, "agent", record.time, [&](Line& line) {
    line.text("cluster", cluster_);
    line.text("node", node_);
    line.text("event", record.event);
    line.text("detail", record.detail);
    if (record.policy) {
      line.json().key("policy");
      line.policy(*record.policy);
      line.json().end_object();
    }
    line.maybe("duration_ms", record.duration_ms);
  });
}

std::string RecordWriter::line(const DetectionRecord& record, std::uint64_t sequence) const {
  return fitting({node_, cluster_, instance_, sequence}, "detection", record.time, [&](Line& line) {
    JsonWriter& json = line.json();
    line.text("cluster", cluster_);
    line.text("node", node_);
    line.text("detection", record.detection);
    json.field("severity", name_of(record.severity));
    if (record.source) line.endpoint("source", *record.source);
    if (record.destination) line.endpoint("destination", *record.destination);
    line.text("detail", record.detail);
    line.text("by", record.by);
    json.key("evidence").begin_object();
    for (const auto& [name, value] : record.evidence) json.field(name, value);
    json.end_object().key("sample_ids").begin_array();
    for (const auto number : record.samples)
      json.value(id_text({node_, cluster_, instance_, number}, rooms.front().name));
    json.end_array();
  });
}

}  // namespace podfence::flow
