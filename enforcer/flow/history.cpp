#include "enforcer/flow/history.h"

#include <simdjson.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <utility>

namespace podfence::flow {
namespace {

namespace fs = std::filesystem;
using simdjson::dom::element;

fs::path rotated_directory(const std::string& path) {
  return fs::path(path).parent_path() / "rotated";
}

/// Control characters as they are, which the writer of records escapes: a line is shown as it was written.
bool holds_control(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (byte(i) < 0x20 || byte(i) == 0x7f) return true;
    if (byte(i) == 0xc2 && i + 1 < text.size() && byte(i + 1) < 0xa0) return true;
    if (byte(i) == 0xe2 && (text.substr(i, 3) == "\xe2\x80\xa8" || text.substr(i, 3) == "\xe2\x80\xa9")) return true;
  }
  return false;
}

std::string text_at(element object, std::string_view key) {
  std::string_view text;
  return object[key].get(text) == simdjson::SUCCESS ? std::string(text) : std::string();
}

std::optional<std::uint64_t> maybe_number_at(element object, std::string_view key) {
  std::uint64_t number = 0;
  return object[key].get(number) == simdjson::SUCCESS ? std::optional(number) : std::nullopt;
}

std::uint64_t number_at(element object, std::string_view key) {
  return maybe_number_at(object, key).value_or(0);
}

bool flag_at(element object, std::string_view key, bool otherwise) {
  bool flag = otherwise;
  return object[key].get(flag) == simdjson::SUCCESS ? flag : otherwise;
}

TimePoint time_at(element object, std::string_view key) {
  return parse_time(text_at(object, key)).value_or(TimePoint{});
}

Endpoint endpoint_at(element object, std::string_view key) {
  Endpoint end;
  element found;
  if (object[key].get(found) != simdjson::SUCCESS) return end;
  const std::string type = text_at(found, "type");
  for (const auto candidate : {EndpointType::pod, EndpointType::node, EndpointType::world}) {
    if (type == name_of(candidate)) end.type = candidate;
  }
  if (const auto ip = net::IpAddr::parse(text_at(found, "ip"))) end.ip = *ip;
  if (const auto port = number_at(found, "port"); port > 0 && port <= 65535) {
    end.port = net::Port{static_cast<std::uint16_t>(port)};
  }
  element k8s;
  if (found["k8s"].get(k8s) != simdjson::SUCCESS) return end;
  end.k8s = {text_at(k8s, "namespace"), text_at(k8s, "pod"),  text_at(k8s, "pod_uid"),  text_at(k8s, "workload_kind"),
             text_at(k8s, "workload"),  text_at(k8s, "node"), text_at(k8s, "port_name")};
  simdjson::dom::object labels;
  if (k8s["labels"].get(labels) != simdjson::SUCCESS) return end;
  end.k8s.labels.emplace();
  for (const auto label : labels) {
    std::string_view value;
    if (end.k8s.labels->size() == most_labels) break;
    if (label.value.get(value) == simdjson::SUCCESS) end.k8s.labels->emplace_back(label.key, value);
  }
  return end;
}

void read_policies(element object, LoggedLine& line) {
  simdjson::dom::array list;
  if (object["policies"].get(list) != simdjson::SUCCESS) return;
  for (const element policy : list) {
    line.policies.push_back({text_at(policy, "namespace"), text_at(policy, "name"), text_at(policy, "uid"),
                             static_cast<std::int64_t>(number_at(policy, "generation")), text_at(policy, "rule")});
  }
}

void read_network(element object, LoggedLine& line) {
  element network;
  if (object["network"].get(network) != simdjson::SUCCESS) return;
  line.family = text_at(network, "type");
  line.transport = text_at(network, "transport");
  line.protocol = maybe_number_at(network, "iana_number");
  line.tcp_flags = text_at(network, "tcp_flags");
  line.icmp_type = maybe_number_at(network, "icmp_type");
  line.icmp_code = maybe_number_at(network, "icmp_code");
  line.reply = flag_at(network, "reply", false);
}

void read_scan(element object, LoggedLine& line) {
  element found;
  if (object["scan"].get(found) != simdjson::SUCCESS) return;
  Scan& scan = line.scan.emplace();
  scan.ports = number_at(found, "distinct_ports");
  scan.at_least = flag_at(found, "at_least", false);
  simdjson::dom::array list;
  if (found["ports"].get(list) == simdjson::SUCCESS) {
    for (const element port : list) {
      std::uint64_t number = 0;
      if (port.get(number) == simdjson::SUCCESS && number <= 65535)
        scan.port_examples.push_back({static_cast<std::uint16_t>(number)});
    }
  }
  for (const std::string name : {"sources", "destinations"}) {
    scan.ends += number_at(found, "distinct_" + name);
    if (found[name].get(list) != simdjson::SUCCESS) continue;
    for (const element address : list) {
      std::string_view text;
      if (address.get(text) != simdjson::SUCCESS) continue;
      if (const auto ip = net::IpAddr::parse(text)) scan.end_examples.push_back(*ip);
    }
  }
}

void read_detection(element object, LoggedLine& line) {
  line.detection = text_at(object, "detection");
  line.severity = text_at(object, "severity");
  line.by = text_at(object, "by");
  simdjson::dom::object evidence;
  if (object["evidence"].get(evidence) != simdjson::SUCCESS) return;
  for (const auto field : evidence) {
    std::uint64_t number = 0;
    if (field.value.get(number) == simdjson::SUCCESS) line.evidence.emplace_back(field.key, number);
  }
}

void add(Accounted& sum, const LoggedLine& line) {
  // A log holds denied flows or allowed ones.
  if (line.type == "flow" && line.verdict != name_of(Verdict::error)) sum.logged += line.count;
  if (line.type == "loss" && line.exact) (line.stage == stage_limit ? sum.limited : sum.logged) += line.lost;
}

bool is_file(const std::string& file, const FilePosition& position) {
  struct stat status {};
  return ::stat(file.c_str(), &status) == 0 && status.st_dev == position.device && status.st_ino == position.inode;
}

}  // namespace

std::string rotated_path(const std::string& path, TimePoint t) {
  const fs::path live(path);
  return rotated_directory(path) / (live.stem().string() + "-" + compact_text_of(t) + live.extension().string());
}

std::vector<std::string> rotated_files(const std::string& path) {
  const fs::path live(path);
  const std::string start = live.stem().string() + "-";
  // Exactly what rotated_path() makes: another log's name may begin like this one's.
  const std::size_t length = start.size() + compact_text_of({}).size() + live.extension().string().size();
  std::vector<std::string> files;
  std::error_code error;
  for (fs::directory_iterator it(rotated_directory(path), error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.size() == length && name.compare(0, start.size(), start) == 0) files.push_back(it->path().string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

struct LineParser::Parser {
  simdjson::dom::parser json;
};

LineParser::LineParser() : parser_(std::make_unique<Parser>()) {}
LineParser::~LineParser() = default;

Result<LoggedLine> LineParser::parse(std::string_view text) {
  if (text.ends_with('\n')) text.remove_suffix(1);
  if (text.size() >= longest_line || holds_control(text)) {
    return fail(Errc::invalid, "flow log line: too long, or with control characters: none of ours");
  }
  element root;
  if (const auto error = parser_->json.parse(text.data(), text.size()).get(root); error != simdjson::SUCCESS) {
    return fail(Errc::invalid, std::string("flow log line: ") + simdjson::error_message(error));
  }
  if (text_at(root, "schema") != "podfence.flow/v1")
    return fail(Errc::invalid, "flow log line: not of schema podfence.flow/v1");
  LoggedLine line;
  line.type = text_at(root, "type");
  line.id = text_at(root, "id");
  line.node = text_at(root, "node");
  line.cluster = text_at(root, "cluster");
  line.time = time_at(root, "time");
  line.end = time_at(root, "end");
  line.observed = time_at(root, "observed");
  line.verdict = text_at(root, "verdict");
  line.action = text_at(root, "action");
  line.reason = text_at(root, "reason");
  line.direction = text_at(root, "direction");
  line.attribution = text_at(root, "attribution");
  read_policies(root, line);
  line.policies_truncated = flag_at(root, "policies_truncated", false);
  line.source = endpoint_at(root, "source");
  line.destination = endpoint_at(root, "destination");
  read_network(root, line);
  line.interface = text_at(root, "interface");
  line.count = number_at(root, "count");
  line.bytes = number_at(root, "bytes");
  read_scan(root, line);
  line.stage = text_at(root, "stage");
  line.lost = number_at(root, "lost");
  line.exact = flag_at(root, "exact", true);
  line.event = text_at(root, "event");
  line.detail = text_at(root, "detail");
  read_detection(root, line);
  return line;
}

std::uint64_t for_each_line(std::istream& in, std::uint64_t offset, std::uint64_t end,
                            const std::function<bool(std::string_view)>& each) {
  in.clear();  // it may have been at its end, and grown since
  in.seekg(static_cast<std::streamoff>(offset));
  for (std::string line; std::getline(in, line);) {
    if (in.eof() || offset + line.size() + 1 > end) break;  // no newline: a line that is being written
    offset += line.size() + 1;
    if (!each(line)) break;
  }
  return offset;
}

Result<> for_each_line(const std::string& file, std::uint64_t offset,
                       const std::function<bool(std::string_view)>& each) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return fail(Errc::io, file + ": cannot be read");
  for_each_line(in, offset, std::numeric_limits<std::uint64_t>::max(), each);
  if (in.bad()) return fail(Errc::io, file + ": read error");
  return {};
}

Accounted accounted_after(const std::string& path, const FilePosition& position) {
  Accounted sum;
  LineParser parser;
  const auto add_file = [&](const std::string& file, std::uint64_t offset) {
    std::ignore = for_each_line(file, offset, [&](std::string_view text) {
      if (const auto line = parser.parse(text)) add(sum, *line);
      return true;
    });
  };
  if (is_file(path, position)) {
    std::error_code error;
    const bool cut_short = fs::file_size(path, error) < position.offset;
    add_file(path, cut_short ? 0 : position.offset);
    return sum;
  }
  // It was rotated since: its rest, and all files after it.
  bool later = false;
  for (const std::string& file : rotated_files(path)) {
    if (later) add_file(file, 0);
    if (!later && is_file(file, position)) {
      later = true;
      add_file(file, position.offset);
    }
  }
  add_file(path, 0);
  return sum;
}

}  // namespace podfence::flow
