#include "cni/raw_json.h"

#include <nlohmann/json.hpp>

namespace podfence::cni {
namespace {

constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/// Walks over JSON that a parser has accepted; on anything else it stops at the end of the text.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  bool at_end() const { return at_ >= text_.size(); }
  std::size_t position() const { return at_; }
  char peek() const { return at_end() ? '\0' : text_[at_]; }
  void step() { at_ += at_end() ? 0 : 1; }
  void skip_space() {
    while (!at_end() && is_space(text_[at_])) ++at_;
  }
  std::string_view since(std::size_t begin) const { return text_.substr(begin, at_ - begin); }

  void skip_string() {
    step();
    while (!at_end() && peek() != '"') {
      if (peek() == '\\') step();
      step();
    }
    step();
  }

  void skip_value() {
    if (peek() == '"') return skip_string();
    if (peek() == '{' || peek() == '[') return skip_nested();
    while (!at_end() && !is_space(peek()) && peek() != ',' && peek() != '}' && peek() != ']') step();
  }

 private:
  void skip_nested() {
    std::size_t depth = 0;
    while (!at_end()) {
      const char c = peek();
      if (c == '"') {
        skip_string();
        continue;
      }
      step();
      if (c == '{' || c == '[') ++depth;
      if ((c == '}' || c == ']') && --depth == 0) return;
    }
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

bool is_key(std::string_view quoted, std::string_view key) {
  if (quoted.find('\\') == std::string_view::npos) {
    return quoted.size() == key.size() + 2 && quoted.substr(1, key.size()) == key;
  }
  const auto decoded = nlohmann::json::parse(quoted, nullptr, false);
  return decoded.is_string() && decoded.get_ref<const std::string&>() == key;
}

std::size_t begin_of(std::string_view text) {
  return text.substr(0, byte_order_mark.size()) == byte_order_mark ? byte_order_mark.size() : 0;
}

}  // namespace

std::optional<std::string_view> raw_member(std::string_view object, std::string_view key) {
  Scanner scan(object.substr(begin_of(object)));
  std::optional<std::string_view> found;
  scan.skip_space();
  if (scan.peek() != '{') return found;
  do {
    scan.step();  // '{' or ','
    scan.skip_space();
    if (scan.peek() != '"') return found;
    const std::size_t name = scan.position();
    scan.skip_string();
    const bool wanted = is_key(scan.since(name), key);
    scan.skip_space();
    scan.step();  // ':'
    scan.skip_space();
    const std::size_t value = scan.position();
    scan.skip_value();
    if (wanted) found = scan.since(value);
    scan.skip_space();
  } while (scan.peek() == ',');
  return found;
}

std::string with_member(std::string_view object, std::string_view key, std::string_view value) {
  std::string out(object);
  if (const auto old = raw_member(object, key)) {
    const auto offset = static_cast<std::size_t>(old->data() - object.data());
    return out.replace(offset, old->size(), value);
  }
  const std::size_t brace = out.find('{');
  if (brace == std::string::npos) return out;
  std::string member = '"' + std::string(key) + "\":" + std::string(value);
  const std::size_t next = out.find_first_not_of(" \t\r\n", brace + 1);
  if (next != std::string::npos && out[next] != '}') member += ',';
  return out.insert(brace + 1, member);
}

}  // namespace podfence::cni
