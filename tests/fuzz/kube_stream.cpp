// What an API server sends, in pieces: the body of a list, and the stream of a watch, as JSON and as protobuf. The
// first byte chooses, the second how long the pieces are. What simdjson reads as a whole must come out the same, and a
// machine must never believe half.
#include "enforcer/reflector/reflector.h"
#include "policy/api/value.h"
#include "tests/fuzz/check.h"

namespace podfence::fuzz {
namespace {

namespace dom = simdjson::dom;

/// The items as simdjson sees them, each minified; nothing when the text is no list for it.
std::optional<std::vector<std::string>> items_by_simdjson(std::string_view text) {
  dom::parser parser;
  const simdjson::padded_string padded(text);
  dom::object root;
  if (parser.parse(padded).get(root) != simdjson::SUCCESS) return std::nullopt;
  std::optional<std::vector<std::string>> items;
  for (const auto [key, value] : root) {
    if (key != "items") continue;
    dom::array list;
    if (items || (!value.is_null() && value.get(list) != simdjson::SUCCESS)) return std::nullopt;
    items.emplace();
    if (value.is_null()) continue;
    for (const auto item : list) {
      if (!item.is_object()) return std::nullopt;
      items->push_back(simdjson::minify(item));
    }
  }
  return items;
}

std::optional<std::string> minified(std::string_view text) {
  dom::parser parser;
  const simdjson::padded_string padded(text);
  dom::element element;
  if (parser.parse(padded).get(element) != simdjson::SUCCESS) return std::nullopt;
  return simdjson::minify(element);
}

template <class Take>
void in_pieces(std::string_view text, std::size_t length, const Take& take) {
  for (std::size_t at = 0; at < text.size(); at += length) {
    if (!take(text.substr(at, length))) return;
  }
}

void list(std::string_view text, std::size_t length) {
  reflector::ListReader reader;
  std::vector<std::string> items;
  bool refused = false;
  in_pieces(text, length, [&](std::string_view piece) {
    const auto taken = reader.take(piece, [&](std::string_view item) -> Result<> {
      items.emplace_back(item);
      return {};
    });
    refused = !taken;
    return !refused;
  });
  const auto expected = items_by_simdjson(text);
  // Keys with escapes are no keys to the reader, and it refuses a second "metadata".
  if (!expected || text.find('\\') != std::string_view::npos || text.find("metadata") != std::string_view::npos) return;
  require(!refused && reader.done() && reader.has_items(), "what is a list is read as one");
  require(items.size() == expected->size(), "all items come out");
  for (std::size_t i = 0; i < items.size(); ++i) require(minified(items[i]) == (*expected)[i], "each as it is");
}

/// Half of a list, or of a list as a watch, is never taken for the world.
void machine(std::string_view text, std::size_t length, bool as_watch, const char* type) {
  reflector::Budget budget;
  reflector::Reflector reflector({api::Kind::pod, "pods", "/api/v1/pods"}, budget, [] { return 0.5; });
  reflector::Time now{};
  auto actions = reflector.start(now);
  if (!as_watch) {
    reflector.on_response_head({422, "application/json", {}, {}}, now);
    actions = reflector.on_close({.whole = true, .why = {}}, now);
  }
  require(actions.request.has_value(), "something is asked");
  reflector.on_response_head({200, type, {}, {}}, now);
  bool open = true;
  in_pieces(text, length, [&](std::string_view piece) {
    const bool was_synced = reflector.status().synced;
    actions = reflector.on_bytes(piece, now);
    require(actions.events.empty() || was_synced || reflector.status().synced, "no event before the list is complete");
    for (const auto& note : actions.notes) check_text(note);
    open = !actions.close;
    return open;
  });
  if (open) actions = reflector.on_close({.whole = true, .why = {}}, now);
  require(!reflector.status().synced || !reflector.status().cursor.empty(), "what is known has a version");
  require(reflector.deadline().has_value() || actions.request, "it always goes on");
}

}  // namespace
}  // namespace podfence::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace podfence;
  if (size < 2) return 0;
  const auto text = fuzz::text_of(data + 2, size - 2);
  const std::size_t length = data[1] == 0 ? text.size() + 1 : data[1];
  const auto what = data[0] % 5;
  if (what == 0) {
    fuzz::list(text, length);
  } else {
    fuzz::machine(text, length, what % 2 == 1, what <= 2 ? "application/json" : "application/vnd.kubernetes.protobuf");
  }
  return 0;
}
