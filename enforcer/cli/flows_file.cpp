#include "enforcer/cli/flows_file.h"

#include <algorithm>
#include <array>
#include <limits>

#include "policy/api/value.h"
#include "policy/api/yaml_reader.h"

namespace podfence::cli {
namespace {

using api::Value;

constexpr std::array<std::string_view, 4> asked_fields{"from", "to", "port", "protocol"};
constexpr std::array<std::string_view, 7> answer_fields{"verdict", "direction", "policies", "reason",
                                                        "from_ip", "to_ip",     "differs"};

template <std::size_t N>
bool contains(const std::array<std::string_view, N>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

/// "flows.yaml: line 3: [2].from"
std::string place(std::string_view file, const Value& value) {
  std::string text(file);
  if (value.line() > 0) text += ": line " + std::to_string(value.line());
  const std::string path = value.path();
  return path.empty() ? text : text + ": " + path;
}

class FlowReader {
 public:
  explicit FlowReader(std::string_view file) : file_(file) {}

  Result<std::vector<FlowQuestion>> read(const Value& root) {
    const Value list = root.get("flows");
    const bool wrapped = root.is_object() && list.given();
    read_list(wrapped ? list : root);
    if (error_) return fail(*std::move(error_));
    return std::move(flows_);
  }

 private:
  void complain(const Value& value, const std::string& message) {
    if (!error_) error_.emplace(Errc::invalid, place(file_, value) + ": " + message);
  }

  void read_list(const Value& list) {
    if (!list.is_array()) {
      return complain(list, "expected a list of flows {from, to, port, protocol}, found " + std::string(list.type()));
    }
    list.each_item([&](const Value& item) { read_flow(item); });
  }

  void read_flow(const Value& item) {
    if (!item.is_object()) {
      return complain(item, "expected a flow {from, to, port, protocol}, found " + std::string(item.type()));
    }
    item.each_field([&](std::string_view key, const Value& field) {
      if (!contains(asked_fields, key) && !contains(answer_fields, key)) {
        complain(field, "unknown field: a flow has from, to, port and protocol");
      }
    });
    FlowQuestion flow;
    flow.where = place(file_, item);
    flow.from = read_end(item, "from");
    flow.to = read_end(item, "to");
    read_port(item.get("port"), flow);
    read_protocol(item.get("protocol"), flow);
    flows_.push_back(std::move(flow));
  }

  std::string read_end(const Value& item, std::string_view key) {
    const Value value = item.get(key);
    if (value.is_string()) return std::string(value.string());
    const std::string expected = ": expected NAMESPACE/POD or an IP address";
    if (value.given()) {
      complain(value, value.shown() + expected);
    } else {
      complain(item, std::string(key) + " is missing" + expected);
    }
    return {};
  }

  void read_port(const Value& value, FlowQuestion& flow) {
    if (!value.given()) return;
    if (value.is_integer()) {
      const std::int64_t number = value.integer();
      if (number < 1 || number > std::numeric_limits<std::uint16_t>::max()) {
        return complain(value, value.shown() + " is no port: give a number from 1 to 65535 or a name");
      }
      flow.port = net::Port{static_cast<std::uint16_t>(number)};
    } else if (value.is_string()) {
      auto port = parse_port(value.string());
      if (!port) return complain(value, port.error().what());
      flow.port = *std::move(port);
    } else {
      complain(value, value.shown() + " is no port: give a number from 1 to 65535 or a name");
    }
  }

  void read_protocol(const Value& value, FlowQuestion& flow) {
    if (!value.given()) return;
    const std::string text = value.is_string()    ? std::string(value.string())
                             : value.is_integer() ? std::to_string(value.integer())
                                                  : "";
    const auto protocol = net::parse_protocol(text);
    if (!protocol) return complain(value, value.shown() + " is no protocol: give TCP, UDP, SCTP, ICMP or a number");
    flow.protocol = *protocol;
  }

  std::string_view file_;
  std::vector<FlowQuestion> flows_;
  std::optional<Error> error_;  // the first
};

Result<std::vector<FlowQuestion>> read_json(std::string_view file, std::string_view json,
                                            std::span<const api::NodeLine> lines) {
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  if (const auto error = parser.parse(json.data(), json.size()).get(root); error != simdjson::SUCCESS) {
    return fail(Errc::invalid, std::string(file) + ": no JSON: " + simdjson::error_message(error));
  }
  return FlowReader(file).read(Value(root, lines));
}

}  // namespace

Result<std::vector<FlowQuestion>> parse_flows(std::string_view file, std::string_view text) {
  if (file.ends_with(".json")) return read_json(file, text, {});
  api::YamlReader reader(text, api::Limits{});
  api::YamlDocument document;
  const auto found = reader.next(document);
  if (!found) return fail(Error(found.error()).in(file));
  if (!*found) return fail(Errc::invalid, std::string(file) + ": holds no document: expected a list of flows");
  api::YamlDocument second;
  const auto more = reader.next(second);
  if (!more) return fail(Error(more.error()).in(file));
  if (*more) return fail(Errc::invalid, std::string(file) + ": holds more than one document: expected a list of flows");
  return read_json(file, document.json, document.lines);
}

}  // namespace podfence::cli
