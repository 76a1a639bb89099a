#include <fmt/format.h>
#include <simdjson.h>

#include "enforcer/agent/status.h"

namespace podfence::agent {
namespace {

using simdjson::dom::array;
using simdjson::dom::element;

/// Bytes at the start of `s` that a terminal may obey instead of showing: controls of ASCII (C0, DEL) and of UTF-8
/// (C1), line separators, changes of the writing direction.
std::size_t control_length(std::string_view s) {
  const auto byte = [&](std::size_t i) { return i < s.size() ? static_cast<unsigned char>(s[i]) : 0U; };
  if (byte(0) < 0x20 || byte(0) == 0x7f) return 1;
  if (byte(0) == 0xc2 && byte(1) >= 0x80 && byte(1) < 0xa0) return 2;
  if (byte(0) != 0xe2) return 0;
  if (byte(1) == 0x80 && (byte(2) == 0x8e || byte(2) == 0x8f || (byte(2) >= 0xa8 && byte(2) <= 0xae))) return 3;
  return byte(1) == 0x81 && byte(2) >= 0xa6 && byte(2) <= 0xa9 ? 3 : 0;
}

/// Names and messages may hold anything: on a terminal they stay one harmless line.
std::string printable(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const auto control = control_length(text);
    out += control == 0 ? text.front() : '?';
    text.remove_prefix(control == 0 ? 1 : control);
  }
  return out;
}

std::string text_of(element e) {
  std::string_view text;
  return e.get(text) == simdjson::SUCCESS ? printable(text) : std::string();
}

std::string text_at(element e, const char* pointer) {
  element at;
  return e.at_pointer(pointer).get(at) == simdjson::SUCCESS ? text_of(at) : std::string();
}

std::int64_t number_at(element e, const char* pointer) {
  std::int64_t number = 0;
  return e.at_pointer(pointer).get(number) == simdjson::SUCCESS ? number : 0;
}

bool flag_at(element e, const char* pointer) {
  bool flag = false;
  return e.at_pointer(pointer).get(flag) == simdjson::SUCCESS && flag;
}

std::vector<element> list_at(element e, const char* pointer) {
  array list;
  if (e.at_pointer(pointer).get(list) != simdjson::SUCCESS) return {};
  return {list.begin(), list.end()};
}

std::string joined(const std::vector<element>& list) {
  std::string out;
  for (const auto item : list) {
    const auto text = text_of(item);
    if (text.empty()) continue;
    if (!out.empty()) out += ",";
    out += text;
  }
  return out.empty() ? "-" : out;
}

bool has_list(element e, const char* pointer) {
  return !list_at(e, pointer).empty();
}

void write_head(std::string& out, element e) {
  out += fmt::format("podfence {} on node {}: {}\n", text_at(e, "/version"), text_at(e, "/node"), text_at(e, "/state"));
  out += fmt::format("  source   {}\n", text_at(e, "/source"));
  out += fmt::format("  counts   {} pods here of {}, {} policies ({} in force here), {} peer classes\n",
                     number_at(e, "/counts/local_pods"), number_at(e, "/counts/pods"), number_at(e, "/counts/policies"),
                     number_at(e, "/counts/relevant_policies"), number_at(e, "/counts/classes"));
  out += fmt::format("  commits  {}, the last {} with {} operations in {} us\n", number_at(e, "/commits/count"),
                     text_at(e, "/commits/last"), number_at(e, "/commits/last_operations"),
                     number_at(e, "/commits/last_took_us"));
  if (const auto error = text_at(e, "/commits/error"); !error.empty()) out += fmt::format("  ERROR    {}\n", error);
  out += fmt::format("  drift    {} repairs, {} operations {}\n", number_at(e, "/drift/repairs"),
                     number_at(e, "/drift/operations"), text_at(e, "/drift/last"));
  out += fmt::format("  revoked  {} established flows {}\n", number_at(e, "/established/revoked"),
                     text_at(e, "/established/error"));
  out += fmt::format("  denied   {} packets: {} in records, {} stated as lost\n", number_at(e, "/flows/denied"),
                     number_at(e, "/flows/recorded"), number_at(e, "/flows/lost"));
}

double seconds_at(element e, const char* pointer) {
  double number = 0;
  return e.at_pointer(pointer).get(number) == simdjson::SUCCESS ? number : 0;
}

void write_checkpoint(std::string& out, element e) {
  element checkpoint;
  if (e.at_key("checkpoint").get(checkpoint) != simdjson::SUCCESS) return;
  const auto written = text_at(checkpoint, "/written");
  if (flag_at(checkpoint, "/enforced")) {
    out += fmt::format("  CHECKPOINT of {} is enforced, {:.0f} s old: the API server has not said everything yet\n",
                       written, seconds_at(checkpoint, "/age_seconds"));
  } else if (written.empty()) {
    out += "  checkpoint none yet\n";
  } else {
    out += fmt::format("  checkpoint of {}, {} bytes in {}\n", written, number_at(checkpoint, "/bytes"),
                       text_at(checkpoint, "/file"));
  }
  if (const auto error = text_at(checkpoint, "/error"); !error.empty()) {
    out += fmt::format("    ERROR {} ({} failures)\n", error, number_at(checkpoint, "/failures"));
  }
  if (const auto why = text_at(checkpoint, "/ignored"); !why.empty()) {
    out += fmt::format("    the one that was here at the start was ignored: {}\n", why);
  }
}

void write_types(std::string& out, element e) {
  if (has_list(e, "/kubernetes")) out += "\nKUBERNETES API\n";
  for (const auto type : list_at(e, "/kubernetes")) {
    out += fmt::format(
        "  {:<16} {:<9} {} objects at {}, last event {:.0f} s ago, last contact {:.0f} s ago, {} relists{}\n",
        text_at(type, "/type"), text_at(type, "/state"), number_at(type, "/objects"), text_at(type, "/cursor"),
        seconds_at(type, "/last_event_age_seconds"), seconds_at(type, "/last_contact_age_seconds"),
        number_at(type, "/relists"), flag_at(type, "/possibly_stale") ? ", may be behind" : "");
    if (const auto error = text_at(type, "/error"); !error.empty()) out += fmt::format("    ERROR {}\n", error);
  }
}

void write_problems(std::string& out, element e) {
  if (has_list(e, "/files")) out += "\nFILES AND OBJECTS WITH ERRORS\n";
  for (const auto file : list_at(e, "/files")) {
    out += fmt::format("  {}{}\n", text_at(file, "/file"),
                       flag_at(file, "/last_good_content") ? ": its last good content is enforced" : "");
    for (const auto message : list_at(file, "/errors")) out += fmt::format("    {}\n", text_of(message));
  }
  if (has_list(e, "/withheld")) out += "\nREFUSED BY THE KERNEL (closed instead)\n";
  for (const auto w : list_at(e, "/withheld")) {
    out += fmt::format("  {} {}: {}\n", text_at(w, "/set"), text_at(w, "/element"), text_at(w, "/why"));
  }
  if (has_list(e, "/attachment_problems")) out += "\nSANDBOXES THAT COULD NOT BE READ\n";
  for (const auto problem : list_at(e, "/attachment_problems")) out += fmt::format("  {}\n", text_of(problem));
  if (has_list(e, "/unguarded")) {
    out += fmt::format("\nNO HOST INTERFACE FOUND (sources not guarded)\n  {}\n", joined(list_at(e, "/unguarded")));
  }
}

void write_objects(std::string& out, element e) {
  if (has_list(e, "/unmanaged")) out += "\nPODS WITHOUT A SANDBOX THAT PODFENCE-CNI REPORTED\n";
  for (const auto pod : list_at(e, "/unmanaged")) {
    out += fmt::format("  {}/{}: {}\n", text_at(pod, "/namespace"), text_at(pod, "/pod"), text_at(pod, "/why"));
  }
  if (has_list(e, "/attachments")) out += "\nSANDBOXES\n";
  for (const auto a : list_at(e, "/attachments")) {
    out += fmt::format("  {}/{}  {}  {}  {}{}\n", text_at(a, "/namespace"), text_at(a, "/pod"),
                       joined(list_at(a, "/addresses")), text_at(a, "/host_interface"), text_at(a, "/container_id"),
                       flag_at(a, "/pod_known") ? "" : "  closed: its pod is not known yet");
  }
  if (has_list(e, "/pods")) out += "\nPODS OF THIS NODE\n";
  for (const auto pod : list_at(e, "/pods")) {
    out += fmt::format("  {}/{}  {}  ingress: {}  egress: {}\n", text_at(pod, "/namespace"), text_at(pod, "/pod"),
                       joined(list_at(pod, "/ips")), joined(list_at(pod, "/isolated_by/ingress")),
                       joined(list_at(pod, "/isolated_by/egress")));
  }
  if (has_list(e, "/policies")) out += "\nPOLICIES\n";
  for (const auto policy : list_at(e, "/policies")) {
    const auto inert = text_at(policy, "/inert");
    out += fmt::format("  {}/{}  {}{}{}  ", text_at(policy, "/namespace"), text_at(policy, "/policy"),
                       flag_at(policy, "/ingress") ? "ingress" : "",
                       flag_at(policy, "/ingress") && flag_at(policy, "/egress") ? "," : "",
                       flag_at(policy, "/egress") ? "egress" : "");
    out +=
        inert.empty() ? fmt::format("{} pods", number_at(policy, "/selected_pods")) : fmt::format("inert: {}", inert);
    const auto denied = number_at(policy, "/denied_packets");
    out += denied == 0 ? "\n" : fmt::format("  {} packets denied\n", denied);
  }
}

}  // namespace

Result<std::string> status_text(std::string_view json) {
  simdjson::dom::parser parser;
  element e;
  if (const auto error = parser.parse(simdjson::padded_string(json)).get(e)) {
    return fail(Errc::invalid, std::string("the agent's status is no JSON: ") + simdjson::error_message(error));
  }
  if (const auto error = text_at(e, "/error"); !error.empty()) return fail(Errc::refused, error);
  std::string out;
  write_head(out, e);
  write_checkpoint(out, e);
  write_types(out, e);
  write_problems(out, e);
  write_objects(out, e);
  return out;
}

}  // namespace podfence::agent
