#include "enforcer/install/json_text.h"

#include <set>

namespace podfence::install {
namespace {

constexpr std::string_view spaces = " \t\r\n";

/// Walks over JSON that a parser has accepted; on anything else it stops at the end of the text.
class Walk {
 public:
  explicit Walk(std::string_view text) : text_(text) {}

  std::size_t at() const { return at_; }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void step() { at_ += at_ < text_.size() ? 1 : 0; }
  void space() {
    while (at_ < text_.size() && spaces.find(text_[at_]) != std::string_view::npos) ++at_;
  }
  Span string() {
    const std::size_t begin = at_;
    step();
    while (at_ < text_.size() && peek() != '"') {
      if (peek() == '\\') step();
      step();
    }
    step();
    return {begin, at_};
  }
  Span value() {
    const std::size_t begin = at_;
    if (peek() == '"') return string();
    if (peek() != '{' && peek() != '[') {
      while (at_ < text_.size() && (spaces.find(peek()) == std::string_view::npos) && peek() != ',' && peek() != '}' &&
             peek() != ']') {
        step();
      }
      return {begin, at_};
    }
    std::size_t depth = 0;
    do {
      if (peek() == '"') {
        string();
        continue;
      }
      if (peek() == '{' || peek() == '[') ++depth;
      if (peek() == '}' || peek() == ']') --depth;
      step();
    } while (depth > 0 && at_ < text_.size());
    return {begin, at_};
  }

 private:
  std::string_view text_;
  std::size_t at_ = 0;
};

std::vector<Span> elements_of(std::string_view text, const Span& list) {
  std::vector<Span> found;
  Walk walk(text.substr(0, list.end));
  while (walk.at() <= list.begin) walk.step();  // behind '['
  for (walk.space(); walk.peek() != ']' && walk.at() < list.end; walk.space()) {
    if (walk.peek() == ',') {
      walk.step();
      continue;
    }
    found.push_back(walk.value());
  }
  return found;
}

}  // namespace

Result<std::vector<Span>> plugin_spans(std::string_view text) {
  Walk walk(text);
  std::set<std::string_view> seen;
  std::vector<Span> found;
  walk.space();
  if (walk.peek() != '{') return fail(Errc::invalid, "is no JSON object");
  walk.step();
  for (walk.space(); walk.peek() == '"'; walk.space()) {
    const Span quoted = walk.string();
    const std::string_view key = text.substr(quoted.begin + 1, quoted.end - quoted.begin - 2);
    if (key.find('\\') != std::string_view::npos) return fail(Errc::invalid, "an escaped key: " + std::string(key));
    const bool known = key == "plugins" || key == "name" || key == "cniVersion";
    if (known && !seen.insert(key).second) return fail(Errc::invalid, std::string(key) + ": is there twice");
    walk.space();
    walk.step();  // ':'
    walk.space();
    const Span value = walk.value();
    if (key == "plugins" && text[value.begin] == '[') found = elements_of(text, value);
    walk.space();
    if (walk.peek() == ',') walk.step();
  }
  return found;
}

std::string with_element(std::string_view text, std::string_view element) {
  const auto spans = plugin_spans(text);
  std::string out(text);
  if (!spans || spans->empty()) return out;
  const Span last = spans->back();
  const std::size_t before = last.begin == 0 ? std::string_view::npos : text.find_last_not_of(spaces, last.begin - 1);
  const std::size_t begin = before == std::string_view::npos ? 0 : before + 1;
  return out.insert(last.end, "," + std::string(text.substr(begin, last.begin - begin)) + std::string(element));
}

std::string without_elements(std::string_view text, const std::vector<std::size_t>& places) {
  std::string out(text);
  for (auto place = places.rbegin(); place != places.rend(); ++place) {
    const auto spans = plugin_spans(out);
    if (!spans || *place >= spans->size()) continue;
    const auto& list = *spans;
    const std::size_t i = *place;
    if (i > 0) {
      out.erase(list[i - 1].end, list[i].end - list[i - 1].end);
    } else {
      const std::size_t end = list.size() > 1 ? list[1].begin : list[0].end;
      out.erase(list[0].begin, end - list[0].begin);
    }
  }
  return out;
}

}  // namespace podfence::install
