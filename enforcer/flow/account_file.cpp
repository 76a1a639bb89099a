#include "enforcer/flow/account_file.h"

#include <simdjson.h>
#include <sys/stat.h>

#include <cerrno>

#include "enforcer/files/files.h"
#include "policy/base/json_writer.h"

namespace podfence::flow {
namespace {

constexpr std::string_view format = "podfence.account/v1";

std::string json_of(const AccountState& state) {
  std::string text;
  JsonWriter json(text);
  json.begin_object().field("format", format).field("flow_log", state.flow_log);
  json.field("device", state.position.device).field("inode", state.position.inode);
  json.field("offset", state.position.offset);
  json.field("logged", state.written.logged).field("limited", state.written.limited);
  json.field("unconfirmed", state.unconfirmed).field("epoch", state.epoch);
  json.key("counters").begin_object();
  for (const auto& [name, counter] : state.counters) {
    json.key(name).begin_object().field("last", counter.last).field("total", counter.total).end_object();
  }
  json.end_object().end_object();
  text += '\n';
  return text;
}

/// Throws simdjson_error.
AccountState state_of(simdjson::dom::element root) {
  AccountState state;
  state.flow_log = std::string(root["flow_log"].get_string().value());
  state.position = {root["device"].get_uint64(), root["inode"].get_uint64(), root["offset"].get_uint64()};
  state.written = {root["logged"].get_uint64(), root["limited"].get_uint64()};
  state.unconfirmed = root["unconfirmed"].get_uint64();
  state.epoch = std::string(root["epoch"].get_string().value());
  const simdjson::dom::object counters = root["counters"].get_object();
  for (const auto field : counters) {
    state.counters[std::string(field.key)] = {field.value["last"].get_uint64(), field.value["total"].get_uint64()};
  }
  return state;
}

}  // namespace

Result<std::optional<AccountState>> load_account(const std::string& file) {
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0 && errno == ENOENT) return std::optional<AccountState>();
  try {
    simdjson::dom::parser parser;
    const simdjson::dom::element root = parser.load(file);
    if (root["format"].get_string().value() != format) return fail(Errc::invalid, file + ": unknown format");
    return std::optional(state_of(root));
  } catch (const simdjson::simdjson_error& error) {
    return fail(Errc::invalid, file + ": " + error.what());
  }
}

Result<> save_account(const std::string& file, const AccountState& state) {
  const auto slash = file.rfind('/');
  const auto directory = slash == std::string::npos ? std::string(".") : file.substr(0, slash);
  if (auto made = files::make_directory(directory); !made) return made;
  return files::write_file(directory, file.substr(slash + 1), json_of(state));
}

}  // namespace podfence::flow
