#include "enforcer/flow/policy_account_file.h"

#include <simdjson.h>

#include "enforcer/files/files.h"
#include "policy/base/json_writer.h"

namespace podfence::flow {
namespace {

constexpr std::string_view format = "podfence.policy-account/v1";
constexpr std::size_t most_bytes = std::size_t{16} << 20U;

JsonWriter& put(JsonWriter& json, std::string_view key, const Traffic& traffic) {
  json.key(key).begin_object().field("packets", traffic.packets).field("bytes", traffic.bytes).end_object();
  return json;
}

std::string json_of(const PolicyAccountState& state) {
  std::string text;
  JsonWriter json(text);
  json.begin_object().field("format", format).field("epoch", state.epoch).key("sets").begin_array();
  for (const auto& [key, set] : state.sets) {
    json.begin_object().field("direction", net::name_of(key.first)).field("number", std::uint64_t{key.second});
    json.key("policies").begin_array();
    for (const auto& policy : set.policies) json.begin_array().value(policy.first).value(policy.second).end_array();
    json.end_array();
    put(put(json, "last", set.last), "total", set.total).end_object();
  }
  json.end_array().key("retired").begin_array();
  for (const auto& [key, traffic] : state.retired) {
    json.begin_object().field("direction", net::name_of(key.first));
    json.key("policy").begin_array().value(key.second.first).value(key.second.second).end_array();
    put(json, "total", traffic).end_object();
  }
  json.end_array().end_object();
  return text += '\n';
}

// These throw simdjson_error.

net::Direction direction_of(simdjson::dom::element object) {
  const std::string_view name = object["direction"].get_string();
  for (const auto direction : net::directions) {
    if (net::name_of(direction) == name) return direction;
  }
  throw simdjson::simdjson_error(simdjson::INCORRECT_TYPE);
}

Traffic traffic_of(simdjson::dom::element object) {
  return {object["packets"].get_uint64(), object["bytes"].get_uint64()};
}

store::NamespacedName policy_of(simdjson::dom::element pair) {
  return {std::string_view(pair.at(0).get_string()), std::string_view(pair.at(1).get_string())};
}

PolicyAccountState state_of(simdjson::dom::element root) {
  PolicyAccountState state;
  state.epoch = std::string(root["epoch"].get_string().value());
  for (const simdjson::dom::element entry : root["sets"].get_array()) {
    CountedSet set;
    for (const simdjson::dom::element policy : entry["policies"].get_array()) set.policies.push_back(policy_of(policy));
    set.last = traffic_of(entry["last"]);
    set.total = traffic_of(entry["total"]);
    const std::uint64_t number = entry["number"].get_uint64();
    if (number > ~program::ClassId{0}) throw simdjson::simdjson_error(simdjson::NUMBER_OUT_OF_RANGE);
    state.sets.emplace(program::TallyKey{direction_of(entry), static_cast<program::ClassId>(number)}, std::move(set));
  }
  for (const simdjson::dom::element entry : root["retired"].get_array()) {
    state.retired[{direction_of(entry), policy_of(entry["policy"])}] = traffic_of(entry["total"]);
  }
  return state;
}

}  // namespace

Result<std::optional<PolicyAccountState>> load_policy_account(const std::string& file) {
  const auto text = files::read_small_file(file, most_bytes);
  if (!text && text.error().code() == Errc::not_found) return std::optional<PolicyAccountState>();
  if (!text) return fail(text.error());
  try {
    simdjson::dom::parser parser;
    const simdjson::dom::element root = parser.parse(*text);
    if (root["format"].get_string().value() != format) return fail(Errc::invalid, file + ": unknown format");
    return std::optional(state_of(root));
  } catch (const simdjson::simdjson_error& error) {
    return fail(Errc::invalid, file + ": " + error.what());
  }
}

Result<> save_policy_account(const std::string& directory, const std::string& name, const PolicyAccountState& state) {
  if (auto made = files::make_directory(directory); !made) return made;
  return files::write_file(directory, name, json_of(state));
}

}  // namespace podfence::flow
