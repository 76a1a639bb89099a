#include "enforcer/sink/event_text.h"

#include <simdjson.h>

#include <algorithm>

#include "enforcer/flow/fields.h"
#include "enforcer/sink/event_book.h"
#include "policy/api/syntax.h"

namespace podfence::sink {
namespace {

constexpr std::size_t longest_note = 1024;
constexpr std::size_t longest_part = 128;  // of a name in it
constexpr std::size_t longest_message = 200;

std::string safe(std::string_view text) {
  return flow::printable(flow::cut(text, longest_part));
}

/// "shop/web-7d9f (Deployment web, 10.0.1.5)", "node node-b (192.0.2.1)", "203.0.113.9", "57 addresses"
std::string who(const flow::LoggedLine& line, const flow::Endpoint& end) {
  std::string ip = end.ip ? end.ip->text() : "";
  const auto with = [&](const std::string& name, std::string more) {
    if (!more.empty() && !ip.empty()) more += ", ";
    more += ip;
    return more.empty() ? name : name + " (" + more + ")";
  };
  if (end.type == flow::EndpointType::pod) {
    const std::string workload =
        end.k8s.workload.empty() ? "" : safe(end.k8s.workload_kind) + " " + safe(end.k8s.workload);
    return with(safe(end.k8s.namespace_) + "/" + safe(end.k8s.pod), workload);
  }
  if (end.type == flow::EndpointType::node) return with("node " + safe(end.k8s.node), "");
  if (!ip.empty()) return ip;
  if (line.scan && line.scan->ends > 0) return std::to_string(line.scan->ends) + " addresses";
  return "an unknown address";
}

std::string port_text(const flow::LoggedLine& line) {
  std::string transport = safe(line.transport);
  std::transform(transport.begin(), transport.end(), transport.begin(),
                 [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; });
  if (line.scan && line.scan->ports > 0) return ", " + std::to_string(line.scan->ports) + " ports";
  if (line.destination.port) return ", " + transport + " port " + std::to_string(line.destination.port->number);
  return transport.empty() ? "" : ", " + transport;
}

std::string policies_text(const flow::LoggedLine& line, std::size_t room) {
  if (line.policies.empty()) return "; reason: " + safe(line.reason);
  std::string text = line.policies.size() == 1 ? "; denied by NetworkPolicy " : "; denied by NetworkPolicies ";
  for (std::size_t i = 0; i < line.policies.size(); ++i) {
    const std::string name = safe(line.policies[i].namespace_) + "/" + safe(line.policies[i].name);
    if (text.size() + name.size() + 16 > room)
      return text + "and " + std::to_string(line.policies.size() - i) + " more";
    text += name + (i + 1 < line.policies.size() ? ", " : "");
  }
  return text + (line.policies_truncated ? " and more" : "");
}

}  // namespace

bool is_about_a_pod_of(const flow::LoggedLine& line, const std::string& node) {
  if (line.type != "flow" || line.verdict != "deny") return false;
  const flow::Endpoint& end = local_end(line);
  if (!is_pod(end) || (!end.k8s.node.empty() && end.k8s.node != node)) return false;
  return api::is_dns_label(end.k8s.namespace_) && api::is_dns_subdomain(end.k8s.pod);
}

std::string key_of(const flow::LoggedLine& line) {
  const flow::Endpoint& far = far_end(line);
  std::string key = local_end(line).k8s.pod_uid + '\n' + line.direction + (line.reply ? " reply\n" : "\n");
  if (far.type == flow::EndpointType::pod) {
    key += far.k8s.namespace_ + '/' + (far.k8s.workload.empty() ? far.k8s.pod : far.k8s.workload);
  } else if (far.ip) {
    key += far.ip->text();
  }
  key += '\n' + line.transport + '\n' + line.reason + '\n';
  if (line.destination.port) key += std::to_string(line.destination.port->number);
  for (const auto& policy : line.policies) key += '\n' + policy.namespace_ + '/' + policy.name;
  return key;
}

std::string event_note(const flow::LoggedLine& line, std::uint64_t untold) {
  const bool egress = line.direction == "egress";
  std::string text = line.reply ? "Answers of a connection " : "Connection ";
  if (line.transport != "tcp") text = line.reply ? "Answers " : "Packets ";
  text += "from " + who(line, line.source) + " to " + who(line, line.destination) + port_text(line);
  text += egress ? ", dropped on egress" : ", dropped on ingress";
  std::string tail;
  if (untold > 0)
    tail = "; before it " + std::to_string(untold) + " records of this pod were not told: too many at once";
  text += policies_text(line, longest_note - std::min(longest_note, text.size() + tail.size()));
  return std::string(flow::cut(text + tail, longest_note));
}

std::string refusal_text(unsigned status, const std::string& body) {
  std::string text = "answered " + std::to_string(status);
  try {
    simdjson::dom::parser parser;
    std::string_view message;
    const simdjson::dom::element answer = parser.parse(body.data(), body.size());
    if (answer["message"].get(message) == simdjson::SUCCESS) {
      text += ": " + flow::printable(flow::cut(message, longest_message));
    }
  } catch (const simdjson::simdjson_error&) {
    // No Status: the number has to do.
  }
  return text;
}

}  // namespace podfence::sink
