#include "enforcer/flow/format_text.h"

#include "policy/base/json_writer.h"

namespace podfence::flow {
namespace {

/// Printable, in one piece: what is not ASCII or would break a line is written as JSON escapes it.
std::string safe(std::string_view text) {
  std::string quoted;
  append_json_string(quoted, text);
  return quoted.substr(1, quoted.size() - 2);
}

std::string address(const Endpoint& end) {
  std::string text = end.ip ? end.ip->text() : std::string("?");
  if (!end.port) return text;
  if (end.ip && end.ip->family() == net::Family::ipv6) text = '[' + text + ']';
  return text + ':' + std::to_string(end.port->number);
}

std::string who(const Endpoint& end) {
  switch (end.type) {
    case EndpointType::pod:
      return safe(end.k8s.namespace_) + '/' + safe(end.k8s.pod) + ' ' + address(end);
    case EndpointType::node:
      return "node/" + safe(end.k8s.node) + ' ' + address(end);
    case EndpointType::world:
      return address(end);
    case EndpointType::unknown:
      return "unknown " + address(end);
  }
  return address(end);
}

std::string by_whom(const LoggedLine& line) {
  if (line.policies.empty()) return line.reason.empty() ? std::string() : " (" + safe(line.reason) + ')';
  std::string text = " by ";
  for (std::size_t i = 0; i < line.policies.size(); ++i) {
    if (i > 0) text += ", ";
    text += safe(line.policies[i].namespace_) + '/' + safe(line.policies[i].name);
  }
  if (line.policies_truncated) text += ", ...";
  if (line.attribution == name_of(Attribution::stale)) text += " (changed meanwhile)";
  return text;
}

/// "2026-11-23 17:30:00.123"
std::string short_time(TimePoint t) {
  std::string text = text_of(t).substr(0, 23);
  text[10] = ' ';
  return text;
}

}  // namespace

std::string text_line(const LoggedLine& line) {
  std::string text = short_time(line.time);
  if (line.type == "loss") {
    text += " LOST " + std::to_string(line.lost) + " denied packets that no record tells of (" + safe(line.stage) + ')';
    return line.exact ? text : text + ", at most";
  }
  if (line.type != "flow") {
    text += ' ' + safe(line.type) + ' ' + safe(line.event);
    return line.detail.empty() ? text : text + ' ' + safe(line.detail);
  }
  text += ' ' + safe(line.verdict);
  if (!line.direction.empty()) text += ' ' + safe(line.direction);
  text += ' ' + who(line.source) + " -> " + who(line.destination);
  if (!line.transport.empty()) text += '/' + safe(line.transport);
  if (line.count > 1) text += " x" + std::to_string(line.count);
  return text + by_whom(line);
}

}  // namespace podfence::flow
