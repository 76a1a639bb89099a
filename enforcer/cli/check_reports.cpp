// The forms in which `podfence check` reports.
#include <array>
#include <map>

#include "enforcer/cli/check.h"
#include "policy/base/json_writer.h"

namespace podfence::cli {
namespace {

using api::Diagnostic;
using api::Severity;

constexpr std::array<Severity, 3> severities{Severity::error, Severity::warning, Severity::note};

std::string plural(std::size_t count, std::string_view word) {
  return std::to_string(count) + " " + std::string(word) + (count == 1 ? "" : "s");
}

std::string rule_id(Severity severity) {
  return std::string("podfence/") + std::string(name_of(severity));
}

std::string_view rule_description(Severity severity) {
  switch (severity) {
    case Severity::error:
      return "Part of the object is invalid; what is invalid admits nothing.";
    case Severity::warning:
      return "The object is taken, and probably does not mean what was intended.";
    case Severity::note:
      return "Part of the input is not used.";
  }
  return {};
}

/// "NetworkPolicy shop/web spec.ingress[0].ports[1].port"
std::string place_of(const Diagnostic& diagnostic) {
  std::string place = diagnostic.object;
  if (!diagnostic.path.empty()) place += (place.empty() ? "" : " ") + diagnostic.path;
  return place;
}

/// RFC 3986: what is allowed in a path stays, everything else is percent-encoded.
std::string uri_of(std::string_view path) {
  constexpr std::string_view kept = "-._~/!$&'()*+,;=@";
  constexpr std::string_view hex = "0123456789ABCDEF";
  std::string uri = path.starts_with('/') ? "file://" : "";
  for (const char c : path) {
    const auto byte = static_cast<unsigned char>(c);
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (letter || kept.find(c) != std::string_view::npos) {
      uri += c;
    } else {
      uri += '%';
      uri += hex[byte >> 4U];
      uri += hex[byte & 0xfU];
    }
  }
  return uri;
}

void write_sarif_result(JsonWriter& json, const Diagnostic& d) {
  const std::string place = place_of(d);
  json.begin_object().field("ruleId", rule_id(d.severity)).field("level", name_of(d.severity));
  json.key("message").begin_object().field("text", place.empty() ? d.message : place + ": " + d.message).end_object();
  json.key("locations").begin_array().begin_object().key("physicalLocation").begin_object();
  json.key("artifactLocation").begin_object().field("uri", uri_of(d.file)).end_object();
  if (d.line > 0) json.key("region").begin_object().field("startLine", d.line).end_object();
  json.end_object();
  if (!place.empty()) {
    json.key("logicalLocations").begin_array().begin_object().field("fullyQualifiedName", place);
    json.end_object().end_array();
  }
  json.end_object().end_array().end_object();
}

/// What a JSON string escapes is escaped here as XML wants it; what XML cannot hold becomes U+FFFD. Going by way of the
/// JSON text makes it valid UTF-8.
std::string xml(std::string_view text) {
  std::string safe;
  append_json_string(safe, text);
  std::string out;
  for (std::size_t i = 1; i + 1 < safe.size(); ++i) {
    const char c = safe[i];
    if (c == '\\') {
      const char next = safe[++i];
      if (next == 'u') i += 4;
      out += next == 'u' ? "\xef\xbf\xbd" : next == 'n' ? "&#10;" : next == 't' ? "&#9;" : next == 'r' ? "&#13;" : "";
      if (next == '"') out += "&quot;";
      if (next == '\\') out += '\\';
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else if (c == '&') {
      out += "&amp;";
    } else {
      out += c;
    }
  }
  return out;
}

/// One test case for each file: it fails when the file has an error.
void append_testcase(std::string& out, const std::string& file, const std::vector<const Diagnostic*>& findings) {
  out += "    <testcase classname=\"podfence.check\" name=\"" + xml(file) + "\">\n";
  std::string others;
  for (const Diagnostic* d : findings) {
    if (d->severity != Severity::error) {
      others += xml(d->text()) + "\n";
      continue;
    }
    const std::string place = place_of(*d);
    out += "      <failure type=\"error\" message=\"" + xml(place.empty() ? d->message : place + ": " + d->message) +
           "\">" + xml(d->text()) + "</failure>\n";
  }
  if (!others.empty()) out += "      <system-out>" + others + "</system-out>\n";
  out += "    </testcase>\n";
}

}  // namespace

std::string report_text(const Findings& findings) {
  std::string out;
  for (const Diagnostic& d : findings.diagnostics) out += d.text() + "\n";
  out += plural(findings.files.size(), "file") + ", " + plural(findings.objects, "object") + ": " +
         plural(findings.count(Severity::error), "error") + ", " +
         plural(findings.count(Severity::warning), "warning") + ", " + plural(findings.count(Severity::note), "note") +
         "\n";
  return out;
}

std::string report_json(const Findings& findings) {
  std::string out;
  JsonWriter json(out);
  json.begin_object().field("files", findings.files.size()).field("objects", findings.objects);
  json.field("errors", findings.count(Severity::error)).field("warnings", findings.count(Severity::warning));
  json.field("notes", findings.count(Severity::note)).key("findings").begin_array();
  for (const Diagnostic& d : findings.diagnostics) {
    json.begin_object().field("severity", name_of(d.severity)).field("file", d.file).field("document", d.document);
    if (d.item > 0) json.field("item", d.item);
    if (d.line > 0) json.field("line", d.line);
    if (!d.object.empty()) json.field("object", d.object);
    if (!d.path.empty()) json.field("path", d.path);
    json.field("message", d.message).end_object();
  }
  json.end_array().end_object();
  return out += "\n";
}

std::string report_sarif(const Findings& findings) {
  std::string out;
  JsonWriter json(out);
  json.begin_object().field("$schema", "https://json.schemastore.org/sarif-2.1.0.json").field("version", "2.1.0");
  json.key("runs").begin_array().begin_object();
  json.key("tool").begin_object().key("driver").begin_object().field("name", "podfence");
  json.key("rules").begin_array();
  for (const Severity severity : severities) {
    json.begin_object().field("id", rule_id(severity));
    json.key("shortDescription").begin_object().field("text", rule_description(severity)).end_object();
    json.key("defaultConfiguration").begin_object().field("level", name_of(severity)).end_object().end_object();
  }
  json.end_array().end_object().end_object();
  json.key("results").begin_array();
  for (const Diagnostic& d : findings.diagnostics) write_sarif_result(json, d);
  json.end_array().end_object().end_array().end_object();
  return out += "\n";
}

std::string report_junit(const Findings& findings) {
  std::map<std::string_view, std::vector<const Diagnostic*>> by_file;
  for (const Diagnostic& d : findings.diagnostics) by_file[d.file].push_back(&d);
  std::size_t failed = 0;
  std::string cases;
  for (const std::string& file : findings.files) {
    const auto& of_file = by_file[file];
    for (const Diagnostic* d : of_file) {
      if (d->severity != Severity::error) continue;
      ++failed;
      break;
    }
    append_testcase(cases, file, of_file);
  }
  const std::string counts = "tests=\"" + std::to_string(findings.files.size()) + "\" failures=\"" +
                             std::to_string(failed) + "\" errors=\"0\"";
  return "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites " + counts +
         ">\n  <testsuite name=\"podfence check\" " + counts + ">\n" + cases + "  </testsuite>\n</testsuites>\n";
}

}  // namespace podfence::cli
