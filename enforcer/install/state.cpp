#include "enforcer/install/state.h"

#include <simdjson.h>

#include <array>
#include <filesystem>

#include "enforcer/install/directory.h"
#include "policy/base/json_writer.h"

namespace podfence::install {
namespace {

constexpr const char* state_name = "cni-install.json";
constexpr const char* original_name = "cni-install.original";
constexpr mode_t private_mode = 0600;
constexpr int schema = 1;  // a later one only adds fields

constexpr std::array<std::pair<Condition, std::string_view>, 4> conditions{{{Condition::installed, "installed"},
                                                                            {Condition::waiting, "waiting"},
                                                                            {Condition::degraded, "degraded"},
                                                                            {Condition::removed, "removed"}}};

using simdjson::SUCCESS;
using simdjson::dom::object;

std::string text_at(object from, const char* key) {
  std::string_view value;
  return from[key].get(value) == SUCCESS ? std::string(value) : std::string();
}

std::uint64_t number_at(object from, const char* key) {
  std::uint64_t value = 0;
  return from[key].get(value) == SUCCESS ? value : 0;
}

}  // namespace

std::string_view name_of(Condition condition) {
  for (const auto& [value, name] : conditions) {
    if (value == condition) return name;
  }
  return "";
}

std::string json_of(const State& s) {
  std::string out;
  JsonWriter json(out);
  json.begin_object().field("schema", schema).field("state", name_of(s.condition)).field("problem", s.problem);
  json.field("mode", name_of(s.mode))
      .field("conf_dir", s.conf_dir)
      .field("file", s.file)
      .field("file_sum", s.file_sum)
      .field("primary", s.primary);
  json.field("network", s.network).field("original_file", s.original_file).field("original_sum", s.original_sum);
  json.field("binary", s.binary).field("binary_is_ours", s.binary_is_ours).field("version", s.version);
  json.field("verified", s.verified).field("repairs_total", s.repairs).field("updates_total", s.updates);
  json.field("last_repair", s.last_repair).field("updated", s.updated).end_object();
  return out + "\n";
}

Result<State> parse_state(std::string_view text) {
  simdjson::dom::parser parser;
  object root;
  if (const auto error = parser.parse(text.data(), text.size()).get(root); error != SUCCESS) {
    return fail(Errc::invalid, std::string("is no state: ") + simdjson::error_message(error));
  }
  State s;
  for (const auto& [value, name] : conditions) {
    if (text_at(root, "state") == name) s.condition = value;
  }
  const auto mode = parse_mode(text_at(root, "mode"));
  if (!mode) return fail(Errc::invalid, "mode: is none that is known");
  s.mode = *mode;
  s.problem = text_at(root, "problem");
  s.conf_dir = text_at(root, "conf_dir");
  s.file = text_at(root, "file");
  s.file_sum = text_at(root, "file_sum");
  s.primary = text_at(root, "primary");
  s.network = text_at(root, "network");
  s.original_file = text_at(root, "original_file");
  s.original_sum = text_at(root, "original_sum");
  s.binary = text_at(root, "binary");
  bool flag = false;
  s.binary_is_ours = root["binary_is_ours"].get(flag) == SUCCESS && flag;
  s.version = text_at(root, "version");
  s.verified = text_at(root, "verified");
  s.repairs = number_at(root, "repairs_total");
  s.updates = number_at(root, "updates_total");
  s.last_repair = text_at(root, "last_repair");
  s.updated = text_at(root, "updated");
  return s;
}

std::string checksum(std::string_view bytes) {
  constexpr std::uint64_t offset = 14695981039346656037ULL;  // FNV-1a, 64 bits
  constexpr std::uint64_t prime = 1099511628211ULL;
  std::uint64_t sum = offset;
  for (const char c : bytes) sum = (sum ^ static_cast<unsigned char>(c)) * prime;
  return std::to_string(bytes.size()) + "-" + std::to_string(sum);
}

std::string StateFiles::path() const {
  return directory_ + "/" + state_name;
}

State StateFiles::load() const {
  State none;
  const auto directory = Directory::open(directory_);
  if (!directory) return none;
  const auto read = directory->read(state_name);
  if (!read) {
    if (read.error().code() != Errc::not_found) none.problem = read.error().what();
    return none;
  }
  auto state = parse_state(read->bytes);
  if (state) return *state;
  none.problem = path() + ": " + state.error().what();
  return none;
}

Result<> StateFiles::save(const State& state) const {
  std::error_code ec;
  if (!std::filesystem::exists(directory_, ec)) {
    std::filesystem::create_directories(directory_, ec);
    std::filesystem::permissions(directory_, std::filesystem::perms::owner_all, ec);
  }
  const auto directory = Directory::open(directory_);
  if (!directory) return fail(directory.error());
  return directory->write(state_name, json_of(state), private_mode);
}

Result<> StateFiles::save_original(std::string_view bytes) const {
  const auto directory = Directory::open(directory_);
  if (!directory) return fail(directory.error());
  return directory->write(original_name, bytes, private_mode);
}

Result<std::string> StateFiles::load_original(const State& state) const {
  const auto directory = Directory::open(directory_);
  if (!directory) return fail(directory.error());
  auto read = directory->read(original_name);
  if (!read) return fail(read.error());
  if (checksum(read->bytes) != state.original_sum) {
    return fail(Errc::invalid, directory->file(original_name) + ": is not what was saved");
  }
  return std::move(read->bytes);
}

Result<> StateFiles::remove_original() const {
  const auto directory = Directory::open(directory_);
  return directory ? directory->remove(original_name) : fail(directory.error());
}

}  // namespace podfence::install
