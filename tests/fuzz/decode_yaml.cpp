// YAML must mean what the JSON that it is turned into means to the decoder of JSON.
#include "policy/api/yaml_reader.h"
#include "tests/fuzz/check.h"

namespace podfence::fuzz {
namespace {

constexpr api::Limits limits{.bytes = 1 << 20, .depth = 32, .nodes = 10000};

/// The objects of all documents read as JSON; nothing when a document fails.
std::optional<std::vector<api::Object>> objects_by_json(std::string_view yaml) {
  std::vector<api::Object> out;
  api::YamlReader reader(yaml, limits);
  api::YamlDocument document;
  while (true) {
    const auto more = reader.next(document);
    if (!more) return std::nullopt;
    if (!*more) return out;
    if (document.json == "null") continue;
    auto decoded = api::decode_json("fuzz.json", document.json, limits);
    if (!decoded) return std::nullopt;
    for (auto& object : decoded->objects) out.push_back(std::move(object));
  }
}

}  // namespace
}  // namespace podfence::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace podfence;
  const std::string_view text = fuzz::text_of(data, size);
  const auto decoded = api::decode_yaml("fuzz.yaml", text, fuzz::limits);
  fuzz::check(decoded);
  const auto expected = fuzz::objects_by_json(text);
  fuzz::require(decoded.has_value() == expected.has_value(), "YAML and its JSON are refused together");
  if (decoded) fuzz::require(decoded->objects == *expected, "YAML and its JSON give the same objects");
  return 0;
}
