// For people: one line for each record, which says who denied.
#include <algorithm>
#include <array>

#include "enforcer/flow/fields.h"
#include "enforcer/flow/format.h"

namespace podfence::flow {
namespace {

/// How much is said, from the most to the least.
struct Detail {
  bool addresses;      // of pods, besides their names
  bool direction;      //
  bool every_policy;   // or the first, and how many more
  std::size_t end;     // bytes of the name of an end
  std::size_t policy;  // bytes of the name of a policy
};
constexpr std::array<Detail, 4> details{{
    {true, true, true, any_width, any_width},
    {false, true, true, any_width, any_width},
    {false, true, false, any_width, any_width},
    {false, false, false, any_width, any_width},
}};
constexpr std::size_t longest_cut = 40;  // of names that are cut to fit, those of the ends first
constexpr std::size_t shortest_cut = 8;
constexpr std::size_t longest_text = 256;  // as records are written
constexpr std::size_t narrow = 140;        // below that the time is short

std::string safe(std::string_view text) {
  return printable(cut(text, longest_text));
}

/// "web-7d9f..x1": what names of pods differ in is at their end.
std::string shortened(std::string name, std::size_t longest) {
  if (name.size() <= longest) return name;
  const std::size_t tail = (longest - 2) / 2;
  const std::size_t head = longest - 2 - tail;
  return name.substr(0, head) + ".." + name.substr(name.size() - tail);
}

std::string full_name(const std::string& space, const std::string& name, std::size_t longest) {
  return shortened(space.empty() ? safe(name) : safe(space) + '/' + safe(name), longest);
}

std::string address(const Endpoint& end) {
  std::string text = end.ip ? end.ip->text() : std::string("?");
  if (!end.port) return text;
  if (end.ip && end.ip->family() == net::Family::ipv6) text = '[' + text + ']';
  return text + ':' + std::to_string(end.port->number);
}

/// `with_port`: also where the address is not said. A client's port is noise there.
std::string who(const Endpoint& end, const Detail& detail, bool with_port) {
  std::string name;
  if (end.type == EndpointType::pod) name = full_name(end.k8s.namespace_, end.k8s.pod, detail.end);
  if (end.type == EndpointType::node) name = full_name("node", end.k8s.node, detail.end);
  if (name.empty()) return (end.type == EndpointType::unknown ? "unknown " : "") + address(end);
  if (detail.addresses) return name + ' ' + address(end);
  return with_port && end.port ? name + ':' + std::to_string(end.port->number) : name;
}

std::string many(std::uint64_t number, const Scan& scan, const char* of) {
  return std::to_string(number) + (scan.at_least ? "+ " : " ") + of;
}

/// As who(), of a line that stands for many flows.
std::string whoever(const LoggedLine& line, const Detail& detail, bool destination) {
  const Endpoint& end = destination ? line.destination : line.source;
  const bool unnamed = !end.ip && end.type == EndpointType::unknown;
  std::string text = who(end, detail, destination);
  if (line.scan && line.scan->ends > 0 && unnamed) {
    text = '(' + many(line.scan->ends, *line.scan, "addresses") + ')';
    if (end.port) text += ':' + std::to_string(end.port->number);
  }
  if (destination && line.scan && line.scan->ports > 0)
    text += ":(" + many(line.scan->ports, *line.scan, "ports") + ')';
  return text;
}

std::string by_whom(const LoggedLine& line, const Detail& detail) {
  if (line.policies.empty()) return line.reason.empty() ? std::string() : " (" + safe(line.reason) + ')';
  std::string text = " by ";
  const std::size_t shown = detail.every_policy ? line.policies.size() : 1;
  for (std::size_t i = 0; i < shown; ++i) {
    if (i > 0) text += ", ";
    text += full_name(line.policies[i].namespace_, line.policies[i].name, detail.policy);
  }
  if (shown < line.policies.size()) text += " +" + std::to_string(line.policies.size() - shown);
  if (line.policies_truncated) text += ", ...";
  if (line.attribution == name_of(Attribution::stale))
    text += detail.every_policy ? " (changed meanwhile)" : " (stale)";
  return text;
}

/// "2026-11-23 17:30:00.123" or "11-23 17:30:00"
std::string short_time(TimePoint t, std::size_t width) {
  std::string text = text_of(t).substr(0, 23);
  text[10] = ' ';
  return width < narrow ? text.substr(5, 14) : text;
}

std::string flow_text(const LoggedLine& line, const Detail& detail) {
  std::string text = safe(line.verdict);
  if (detail.direction && !line.direction.empty()) text += ' ' + safe(line.direction);
  text += ' ' + whoever(line, detail, false) + " -> " + whoever(line, detail, true);
  if (!line.transport.empty()) text += '/' + safe(line.transport);
  if (line.count > 1) text += " x" + std::to_string(line.count);
  return text + by_whom(line, detail);
}

std::string detection_text(const LoggedLine& line, const Detail& detail) {
  std::string text = "DETECTED " + safe(line.detection) + ' ' + safe(line.severity);
  const auto known = [](const Endpoint& end) { return end.ip || end.type != EndpointType::unknown; };
  if (known(line.source)) text += ' ' + who(line.source, detail, false);
  if (known(line.destination)) text += " -> " + who(line.destination, detail, true);
  if (!line.detail.empty()) text += ' ' + safe(line.detail);
  if (!line.by.empty()) text += " by " + safe(line.by);
  for (const auto& [name, number] : line.evidence) text += ' ' + safe(name) + '=' + std::to_string(number);
  return text;
}

std::string other_text(const LoggedLine& line) {
  if (line.type == "loss") {
    const std::string text =
        "LOST " + std::to_string(line.lost) + " denied packets that no record tells of (" + safe(line.stage) + ')';
    return line.exact ? text : text + ", at most";
  }
  const std::string text = safe(line.type) + ' ' + safe(line.event);
  return line.detail.empty() ? text : text + ' ' + safe(line.detail);
}

}  // namespace

std::string text_line(const LoggedLine& line, std::size_t width) {
  const std::string time = short_time(line.time, width) + ' ';
  width = std::min(width, longest_line - 1);
  std::string text;
  const auto said = [&](const Detail& detail) {
    return time + (line.type == "flow"        ? flow_text(line, detail)
                   : line.type == "detection" ? detection_text(line, detail)
                                              : other_text(line));
  };
  for (const Detail& detail : details) {
    text = said(detail);
    if (text.size() <= width) return text;
  }
  if (line.type != "flow") return text.substr(0, width);
  for (const bool policies_too : {false, true}) {
    for (std::size_t most = longest_cut; most >= shortest_cut && text.size() > width; --most) {
      text = said({false, false, false, most, policies_too ? most : any_width});
    }
  }
  return text.substr(0, width);
}

}  // namespace podfence::flow
