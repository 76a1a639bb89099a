#include "tests/support/yaml_json.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cctype>

#include "policy/base/json_writer.h"

namespace podfence::test {
namespace {

bool is_integer(const std::string& text) {
  const auto digits = text.substr(!text.empty() && text[0] == '-' ? 1 : 0);
  const auto is_digit = [](unsigned char c) { return std::isdigit(c) != 0; };
  return !digits.empty() && digits.size() < 18 && std::all_of(digits.begin(), digits.end(), is_digit);
}

void write_scalar(JsonWriter& out, const YAML::Node& node) {
  const auto& text = node.Scalar();
  if (node.Tag() == "!") {
    out.value(text);  // it was quoted
  } else if (text == "true" || text == "false" || is_integer(text)) {
    out.raw(text);
  } else {
    out.value(text);
  }
}

void write(JsonWriter& out, const YAML::Node& node) {
  switch (node.Type()) {
    case YAML::NodeType::Map:
      out.begin_object();
      for (const auto& entry : node) {
        out.key(entry.first.as<std::string>());
        write(out, entry.second);
      }
      out.end_object();
      return;
    case YAML::NodeType::Sequence:
      out.begin_array();
      for (const auto& item : node) write(out, item);
      out.end_array();
      return;
    case YAML::NodeType::Scalar:
      write_scalar(out, node);
      return;
    case YAML::NodeType::Null:
    case YAML::NodeType::Undefined:
      out.null();
      return;
  }
}

}  // namespace

std::string to_json(const YAML::Node& node) {
  std::string text;
  JsonWriter out(text);
  write(out, node);
  return text;
}

}  // namespace podfence::test
