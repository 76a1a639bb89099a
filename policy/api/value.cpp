#include "policy/api/value.h"

#include <algorithm>

#include "policy/base/json_writer.h"

namespace podfence::api {
namespace {

/// Whether a key can stand in a path as it is.
bool is_plain(std::string_view key) {
  return !key.empty() && std::all_of(key.begin(), key.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
}

}  // namespace

std::string quote(std::string_view text) {
  constexpr std::size_t longest = 80;
  std::string out;
  if (text.size() <= longest) {
    append_json_string(out, text);
    return out;
  }
  std::size_t cut = longest;
  while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xc0U) == 0x80) --cut;  // not inside of a character
  append_json_string(out, text.substr(0, cut));
  out += "... (" + std::to_string(text.size()) + " bytes)";
  return out;
}

Value Value::child(simdjson::dom::element element, std::string_view key, std::size_t index, std::uint32_t node) const {
  Value out;
  out.element_ = element;
  out.given_ = !element.is_null();
  out.parent_ = this;
  out.key_ = key;
  out.index_ = index;
  out.lines_ = lines_;
  out.node_ = node;
  return out;
}

Value Value::get(std::string_view key) const& {
  if (is_object()) {
    std::uint32_t node = node_ + 1;
    for (const auto [name, element] : simdjson::dom::object(element_)) {
      if (name == key) return child(element, name, no_index, node);
      node = after(node);
    }
  }
  Value out;
  out.parent_ = this;
  out.key_ = key;
  out.lines_ = lines_;
  out.node_ = node_;
  return out;
}

Value Value::as_root() const {
  Value out = *this;
  out.parent_ = nullptr;
  return out;
}

std::size_t Value::size() const {
  if (!given_) return 0;
  std::size_t count = 0;
  // The library's own size() saturates at 2^24 - 1.
  each_item([&](const Value&) { ++count; });
  each_field([&](std::string_view, const Value&) { ++count; });
  return count;
}

std::string Value::path() const {
  std::string out;
  if (parent_ == nullptr) return out;
  out = parent_->path();
  if (index_ != no_index) return out + "[" + std::to_string(index_) + "]";
  if (!is_plain(key_)) return out + "[" + quote(key_) + "]";
  if (!out.empty()) out += '.';
  return out.append(key_);
}

std::size_t Value::line() const {
  return node_ < lines_.size() ? lines_[node_].line : 0;
}

std::string_view Value::type() const {
  if (!given_) return "nothing";
  switch (element_.type()) {
    case simdjson::dom::element_type::ARRAY:
      return "a list";
    case simdjson::dom::element_type::OBJECT:
      return "a map";
    case simdjson::dom::element_type::STRING:
      return "a string";
    case simdjson::dom::element_type::BOOL:
      return "a boolean";
    case simdjson::dom::element_type::NULL_VALUE:
      return "null";
    case simdjson::dom::element_type::INT64:
    case simdjson::dom::element_type::UINT64:
    case simdjson::dom::element_type::DOUBLE:
      return "a number";
  }
  return "a value";
}

std::string Value::shown() const {
  if (!given_) return "null";
  if (is_string()) return quote(string());
  if (is_object() || is_array()) return std::string(type());
  return simdjson::minify(element_);
}

}  // namespace podfence::api
