#include "enforcer/install/conf_file.h"

#include <simdjson.h>

#include <algorithm>
#include <array>

#include "policy/base/json_writer.h"

namespace podfence::install {
namespace {

using simdjson::SUCCESS;
using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::object;

constexpr std::array<std::pair<Mode, std::string_view>, 3> modes{
    {{Mode::own, "own"}, {Mode::drop_in, "drop-in"}, {Mode::in_place, "in-place"}}};

bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/// As libcni checks the name of a network.
bool is_network_name(std::string_view name) {
  return !name.empty() && is_letter_or_digit(name.front()) && std::all_of(name.begin(), name.end(), [](char c) {
    return is_letter_or_digit(c) || c == '_' || c == '.' || c == '-';
  });
}

Result<std::string> text_at(object from, const char* key) {
  element found;
  if (from[key].get(found) != SUCCESS || found.is_null()) return std::string();
  std::string_view value;
  if (found.get(value) != SUCCESS) return fail(Errc::invalid, std::string(key) + ": is no text");
  return std::string(value);
}

std::optional<Mark> mark_of(object plugin) {
  object said;
  std::string_view mode;
  std::string_view from;
  if (plugin["podfence"].get(said) != SUCCESS || said["installed"].get(mode) != SUCCESS) return std::nullopt;
  if (said["from"].get(from) != SUCCESS) return std::nullopt;
  const auto known = parse_mode(mode);
  return known ? std::optional(Mark{*known, std::string(from)}) : std::nullopt;
}

Result<PluginEntry> read_entry(element from, const std::string& where) {
  object plugin;
  if (from.get(plugin) != SUCCESS) return fail(Errc::invalid, where + ": is no object");
  auto type = text_at(plugin, "type");
  if (!type) return fail(std::move(type).error().in(where));
  if (type->empty()) return fail(Errc::invalid, where + ".type: is missing");
  if (type->find('/') != std::string::npos) return fail(Errc::invalid, where + ".type: has a slash: " + *type);
  PluginEntry entry{std::move(*type), std::nullopt};
  if (entry.type == plugin_type) entry.mark = mark_of(plugin);
  return entry;
}

Result<> read_head(object root, ConfFile& file) {
  auto network = text_at(root, "name");
  if (!network) return fail(network.error());
  if (network->empty()) return fail(Errc::invalid, "name: is missing");
  if (!is_network_name(*network)) return fail(Errc::invalid, "name: has characters that libcni refuses: " + *network);
  auto version = text_at(root, "cniVersion");
  if (!version) return fail(version.error());
  file.network = std::move(*network);
  file.cni_version = version->empty() ? "0.1.0" : std::move(*version);
  array versions;
  if (root["cniVersions"].get(versions) == SUCCESS) {
    for (const element one : versions) {
      std::string_view text;
      if (one.get(text) != SUCCESS) return fail(Errc::invalid, "cniVersions: an entry is no text");
      file.cni_versions.emplace_back(text);
    }
  }
  bool only_inlined = false;
  file.only_inlined = root["loadOnlyInlinedPlugins"].get(only_inlined) == SUCCESS && only_inlined;
  return {};
}

Result<> read_list(object root, ConfFile& file) {
  element found;
  array list;
  if (root["plugins"].get(found) != SUCCESS) return fail(Errc::invalid, "plugins: is missing");
  if (found.get(list) != SUCCESS) return fail(Errc::invalid, "plugins: is no list");
  for (const element one : list) {
    auto entry = read_entry(one, "plugins[" + std::to_string(file.plugins.size()) + "]");
    if (!entry) return fail(entry.error());
    file.plugins.push_back(std::move(*entry));
  }
  if (file.plugins.empty()) return fail(Errc::invalid, "plugins: is empty");
  return {};
}

/// Places of our entries in the list: all of them, or those that this installer made.
std::vector<std::size_t> ours_in(const ConfFile& file, bool (*which)(const PluginEntry&)) {
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < file.plugins.size(); ++i) {
    if (which(file.plugins[i])) places.push_back(i);
  }
  return places;
}

bool is_ours(const PluginEntry& entry) {
  return entry.type == plugin_type;
}
bool is_marked(const PluginEntry& entry) {
  return entry.mark.has_value();
}

bool ends_with(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view spaces = " \t\r\n";
  const auto begin = text.find_first_not_of(spaces);
  return begin == std::string_view::npos ? "" : text.substr(begin, text.find_last_not_of(spaces) - begin + 1);
}

}  // namespace

std::string_view name_of(Mode mode) {
  return std::find_if(modes.begin(), modes.end(), [&](const auto& m) { return m.first == mode; })->second;
}

std::optional<Mode> parse_mode(std::string_view text) {
  const auto found = std::find_if(modes.begin(), modes.end(), [&](const auto& m) { return m.second == text; });
  return found == modes.end() ? std::nullopt : std::optional(found->first);
}

bool ConfFile::has_ours() const {
  return std::any_of(plugins.begin(), plugins.end(), is_ours);
}

bool ConfFile::is_own() const {
  return std::any_of(plugins.begin(), plugins.end(),
                     [](const PluginEntry& entry) { return entry.mark && entry.mark->mode == Mode::own; });
}

bool is_conf_name(std::string_view name) {
  return ends_with(name, ".conf") || ends_with(name, ".conflist") || ends_with(name, ".json");
}

Result<ConfFile> parse_conf(std::string name, std::string bytes) {
  ConfFile file;
  file.is_list = ends_with(name, ".conflist");
  file.name = std::move(name);
  if (trimmed(bytes).empty()) return fail(Errc::invalid, "is empty");
  simdjson::dom::parser parser;
  element root;
  if (const auto error = parser.parse(bytes.data(), bytes.size()).get(root); error != SUCCESS) {
    return fail(Errc::invalid, std::string("is no JSON: ") + simdjson::error_message(error));
  }
  object top;
  if (root.get(top) != SUCCESS) return fail(Errc::invalid, "is no JSON object");
  if (auto spans = plugin_spans(bytes); !spans) return fail(spans.error());
  if (file.is_list) {
    if (auto read = read_list(top, file); !read) return fail(read.error());
  } else {
    if (top["plugins"].error() == SUCCESS) return fail(Errc::invalid, "plugins: a list must be in a .conflist file");
    auto entry = read_entry(root, "the plugin");
    if (!entry) return fail(entry.error());
    file.plugins.push_back(std::move(*entry));
  }
  if (auto read = read_head(top, file); !read) return fail(read.error());
  file.bytes = std::move(bytes);
  return file;
}

std::string entry_text(const EntryOptions& options, const Mark& mark) {
  std::string out;
  JsonWriter json(out);
  json.begin_object().field("type", plugin_type);
  if (!options.socket.empty()) json.field("socket", options.socket);
  if (!options.state_dir.empty()) json.field("stateDir", options.state_dir);
  if (!options.log_file.empty()) json.field("logFile", options.log_file);
  if (options.deadline_seconds) json.field("deadlineSeconds", *options.deadline_seconds);
  if (!options.on_agent_unavailable.empty()) json.field("onAgentUnavailable", options.on_agent_unavailable);
  json.key("podfence").begin_object().field("installed", name_of(mark.mode)).field("from", mark.from).end_object();
  json.end_object();
  return out;
}

std::string chained(const ConfFile& primary, std::string_view entry) {
  if (primary.is_list) return with_element(without_elements(primary.bytes, ours_in(primary, is_ours)), entry);
  std::string out;
  JsonWriter json(out);
  json.begin_object().field("cniVersion", primary.cni_version).field("name", primary.network);
  json.key("plugins").begin_array().raw(trimmed(primary.bytes)).raw(entry).end_array().end_object();
  return out + "\n";
}

std::string unchained(const ConfFile& list) {
  return without_elements(list.bytes, ours_in(list, is_marked));
}

}  // namespace podfence::install
