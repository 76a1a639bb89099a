#include "enforcer/cli/config_file.h"

#include <simdjson.h>

#include <iterator>

#include "policy/api/yaml_reader.h"

namespace podfence::cli {
namespace {

/// The scalar as the command line would give it.
std::string scalar_text(std::string_view key, simdjson::dom::element value) {
  std::string_view text;
  if (value.get(text) == simdjson::SUCCESS) return std::string(text);
  if (value.is_object() || value.is_array() || value.is_null()) {
    throw CLI::ConfigError("key '" + std::string(key) + "': expected a text, a number or a boolean");
  }
  return simdjson::minify(value);
}

}  // namespace

std::vector<CLI::ConfigItem> YamlConfig::from_config(std::istream& input) const {
  const std::string text{std::istreambuf_iterator<char>(input), std::istreambuf_iterator<char>()};
  api::Limits limits;
  limits.bytes = std::size_t{1} << 20U;
  api::YamlReader reader(text, limits);
  api::YamlDocument document;
  const auto read = reader.next(document);
  if (!read) throw CLI::ConfigError("configuration: " + read.error().what());
  std::vector<CLI::ConfigItem> found;
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  if (!*read || parser.parse(document.json).get(root) != simdjson::SUCCESS || root.is_null()) return found;
  simdjson::dom::object object;
  if (root.get(object) != simdjson::SUCCESS) throw CLI::ConfigError("configuration: expected a map of options");
  for (const auto field : object) {
    CLI::ConfigItem item;
    item.parents = {command_};
    item.name = std::string(field.key);
    item.inputs = {scalar_text(field.key, field.value)};
    found.push_back(std::move(item));
  }
  return found;
}

}  // namespace podfence::cli
