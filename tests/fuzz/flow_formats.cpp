// Records whose every text is chosen by somebody hostile, in every format; and lines of a log that somebody else wrote.
#include <simdjson.h>

#include "enforcer/flow/filter.h"
#include "enforcer/flow/format.h"
#include "enforcer/flow/record.h"
#include "tests/fuzz/check.h"

namespace {

using namespace podfence;
using fuzz::require;

/// Takes texts and numbers off the input.
class Input {
 public:
  explicit Input(std::string_view bytes) : rest_(bytes) {}

  std::uint64_t number() {
    std::uint64_t value = 0;
    for (int i = 0; i < 4 && !rest_.empty(); ++i) {
      value = value << 8U | static_cast<unsigned char>(rest_.front());
      rest_.remove_prefix(1);
    }
    return value;
  }
  /// Some are much longer than what they are made of.
  std::string text() {
    const std::uint64_t shape = number();
    const auto part = rest_.substr(0, shape & 0x3fU);
    rest_.remove_prefix(part.size());
    std::string text;
    for (std::uint64_t i = 0; i <= ((shape & 0x40U) != 0 ? 65'536 / (part.size() + 1) : 0); ++i) text += part;
    return text;
  }

 private:
  std::string_view rest_;
};

void check_line(std::string_view line, bool is_json) {
  require(line.size() < flow::longest_line, "a line below 16 KiB");
  for (const char c : line) {
    require(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f, "a line without control characters");
  }
  require(line.find("\xe2\x80\xa8") == std::string_view::npos && line.find("\xe2\x80\xa9") == std::string_view::npos,
          "a line without separators of lines");
  static simdjson::dom::parser parser;
  if (is_json) require(parser.parse(line.data(), line.size()).error() == simdjson::SUCCESS, "a line of JSON");
}

void check_formats(const flow::LoggedLine& line, std::string_view json) {
  using flow::Format;
  for (const auto format : {Format::text, Format::native, Format::hubble, Format::gke, Format::ecs}) {
    const auto text = flow::formatted(format, line, json);
    if (text) check_line(*text, format != Format::text);
  }
  require(flow::text_line(line, 60).size() <= 60, "text that fits");
}

flow::Endpoint endpoint(Input& input) {
  flow::Endpoint end;
  const auto kind = input.number();
  end.type = static_cast<flow::EndpointType>(kind % 4);
  if ((kind & 4U) != 0) end.ip = net::IpAddr::v4(10, 0, 0, static_cast<std::uint8_t>(kind >> 8U));
  if ((kind & 8U) != 0) end.port = net::Port{static_cast<std::uint16_t>(kind >> 8U)};
  for (auto* text : {&end.k8s.namespace_, &end.k8s.pod, &end.k8s.pod_uid, &end.k8s.workload_kind, &end.k8s.workload,
                     &end.k8s.node, &end.k8s.port_name}) {
    *text = input.text();
  }
  if ((kind & 16U) != 0) end.k8s.labels = flow::Labels(kind % flow::most_labels, {"app", input.text()});
  return end;
}

flow::FlowRecord record(Input& input) {
  flow::FlowRecord record;
  const auto kind = input.number();
  record.direction = (kind & 1U) != 0 ? net::Direction::egress : net::Direction::ingress;
  record.verdict = (kind & 2U) != 0 ? flow::Verdict::error : flow::Verdict::deny;
  record.reason = static_cast<flow::Reason>((kind >> 2U) % 4);
  record.reply = (kind & 16U) != 0;
  if ((kind & 32U) != 0) record.scan = flow::Scan{kind, kind >> 8U, true, {{1}}, {net::IpAddr::v4(1, 2, 3, 4)}};
  record.protocol = net::Protocol{static_cast<std::uint8_t>(kind >> 16U)};
  record.source = endpoint(input);
  record.destination = endpoint(input);
  for (std::uint64_t i = 0; i < (kind >> 8U) % 12; ++i) {
    record.policies.push_back({input.text(), input.text(), input.text(), static_cast<std::int64_t>(i)});
  }
  record.interface = input.text();
  record.count = kind;
  return record;
}

void check_written(const std::string& line) {
  require(!line.empty() && line.back() == '\n', "a line ends in a newline");
  const std::string_view json(line.data(), line.size() - 1);
  check_line(json, true);
  const auto parsed = flow::LineParser().parse(json);
  require(parsed.has_value(), "what is written can be read back");
  check_formats(*parsed, json);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto text = fuzz::text_of(data, size);
  if (const auto line = flow::LineParser().parse(text)) {
    check_formats(*line, text.ends_with('\n') ? text.substr(0, text.size() - 1) : text);
  }
  std::ignore = flow::parse_endpoint_filter(text);
  std::ignore = flow::parse_port_filter(text);
  std::ignore = flow::parse_policy_filter(text);
  std::ignore = flow::parse_since(text, {});
  Input input(text);
  const flow::RecordWriter writer(input.text(), input.text(), input.text());
  check_written(writer.line(record(input), 1, {}));
  flow::DetectionRecord detection;
  detection.detection = input.text();
  detection.source = endpoint(input);
  detection.detail = input.text();
  detection.by = input.text();
  check_written(writer.line(detection, 2));
  check_written(writer.line(flow::AgentRecord{{}, input.text(), input.text(), {}, {}}, 3));
  check_written(writer.line(flow::LossRecord{{}, {}, input.text(), 1, true, {}}, 4));
  return 0;
}
