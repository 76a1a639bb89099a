#include "enforcer/cli/config_file.h"

#include <simdjson.h>

#include <iterator>
#include <set>

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

/// Whether there is one more.
bool next(api::YamlReader& reader, api::YamlDocument& document) {
  const auto read = reader.next(document);
  if (!read) throw CLI::ConfigError("configuration: " + read.error().what());
  return *read;
}

}  // namespace

std::vector<CLI::ConfigItem> YamlConfig::from_config(std::istream& input) const {
  const std::string text{std::istreambuf_iterator<char>(input), std::istreambuf_iterator<char>()};
  api::Limits limits;
  limits.bytes = std::size_t{1} << 20U;
  api::YamlReader reader(text, limits);
  api::YamlDocument document;
  std::vector<CLI::ConfigItem> found;
  if (!next(reader, document)) return found;
  if (api::YamlDocument second; next(reader, second)) throw CLI::ConfigError("configuration: expected one document");
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  if (const auto error = parser.parse(document.json).get(root)) {
    throw CLI::ConfigError(std::string("configuration: ") + simdjson::error_message(error));
  }
  if (root.is_null()) return found;
  simdjson::dom::object object;
  if (root.get(object) != simdjson::SUCCESS) throw CLI::ConfigError("configuration: expected a map of options");
  std::set<std::string_view> keys;
  for (const auto field : object) {
    if (!keys.insert(field.key).second) {
      throw CLI::ConfigError("configuration: key '" + std::string(field.key) + "' is there twice");
    }
    CLI::ConfigItem item;
    item.parents = {command_};
    item.name = std::string(field.key);
    item.inputs = {scalar_text(field.key, field.value)};
    found.push_back(std::move(item));
  }
  return found;
}

}  // namespace podfence::cli
