#include "enforcer/flow/fields.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "enforcer/flow/record.h"
#include "policy/base/json_writer.h"
#include "policy/base/overloaded.h"

namespace podfence::flow {
namespace {

struct Room {
  std::size_t text;   // bytes of a text
  std::size_t items;  // of a list of objects
  std::size_t texts;  // of a list of texts
};
constexpr std::array<Room, 3> rooms{Room{256, most_policies, most_policies}, Room{48, most_policies, most_policies},
                                    Room{48, 0, 2}};

class FieldWriter {
 public:
  FieldWriter(std::string& out, Room room, Texting texting) : json_(out), room_(room), texting_(texting) {}

  void object(const Fields& fields) {
    json_.begin_object();
    std::vector<std::string_view> open;  // objects that the path before went into
    for (const auto& [path, value] : fields) {
      if (value.empty()) continue;
      const auto name = path.rfind('.') + 1;  // 0 when there is no dot
      enter(open, path.substr(0, name == 0 ? 0 : name - 1));
      json_.key(path.substr(name));
      write(value);
    }
    enter(open, {});
    json_.end_object();
  }

 private:
  /// Leaves and enters objects until `path` is open.
  void enter(std::vector<std::string_view>& open, std::string_view path) {
    std::vector<std::string_view> parts;
    while (!path.empty()) {
      const auto dot = std::min(path.find('.'), path.size());
      parts.push_back(path.substr(0, dot));
      path.remove_prefix(std::min(dot + 1, path.size()));
    }
    const auto same = std::mismatch(open.begin(), open.end(), parts.begin(), parts.end()).first - open.begin();
    for (; open.size() > static_cast<std::size_t>(same); open.pop_back()) json_.end_object();
    for (; open.size() < parts.size(); open.push_back(parts[open.size()])) json_.key(parts[open.size()]).begin_object();
  }

  void text(std::string_view value) {
    const std::string_view part = cut(value, room_.text);
    if (texting_ == Texting::printable) {
      json_.value(printable(part));
    } else {
      json_.value(part);
    }
  }

  void write(const Value& value) {
    std::visit(overloaded{
                   [](std::monostate) {},
                   [&](const std::string& one) { text(one); },
                   [&](std::uint64_t number) { json_.value(number); },
                   [&](bool flag) { json_.value(flag); },
                   [&](const Texts& texts) {
                     json_.begin_array();
                     for (std::size_t i = 0; i < std::min(texts.size(), room_.texts); ++i) text(texts[i]);
                     json_.end_array();
                   },
                   [&](const Fields& fields) { object(fields); },
                   [&](const std::vector<Fields>& objects) {
                     json_.begin_array();
                     for (std::size_t i = 0; i < std::min(objects.size(), room_.items); ++i) object(objects[i]);
                     json_.end_array();
                   },
               },
               value.get());
  }

  JsonWriter json_;
  Room room_;
  Texting texting_;
};

bool is_tail(char c) {
  return (static_cast<unsigned char>(c) & 0xc0U) == 0x80;
}

/// The character at the front of `text`, which is taken off; nothing (and one byte is taken) when it is no UTF-8.
std::optional<std::uint32_t> take_character(std::string_view& text) {
  const auto lead = static_cast<unsigned char>(text.front());
  const std::size_t size = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
  constexpr std::array<std::uint32_t, 5> smallest{0, 0, 0x80, 0x800, 0x10000};
  constexpr std::array<unsigned, 5> mask{0, 0x7f, 0x1f, 0x0f, 0x07};
  bool valid = size > 0 && size <= text.size();
  std::uint32_t code = lead & mask.at(size);
  for (std::size_t i = 1; valid && i < size; ++i) {
    valid = is_tail(text[i]);
    code = code << 6U | (static_cast<unsigned char>(text[i]) & 0x3fU);
  }
  valid = valid && code >= smallest.at(size) && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
  text.remove_prefix(valid ? size : 1);
  return valid ? std::optional(code) : std::nullopt;
}

}  // namespace

Value::Value(std::string text) : value_(std::move(text)) {}
Value::Value(std::string_view text) : value_(std::string(text)) {}
Value::Value(const char* text) : value_(std::string(text)) {}
Value::Value(std::uint16_t number) : value_(std::uint64_t{number}) {}
Value::Value(std::uint32_t number) : value_(std::uint64_t{number}) {}
Value::Value(std::uint64_t number) : value_(number) {}
Value::Value(bool flag) : value_(flag) {}
Value::Value(Texts texts) : value_(std::move(texts)) {}
Value::Value(Fields object) : value_(std::move(object)) {}
Value::Value(std::vector<Fields> objects) : value_(std::move(objects)) {}

bool Value::empty() const {
  return std::visit(overloaded{
                        [](std::monostate) { return true; },
                        [](std::uint64_t) { return false; },
                        [](bool) { return false; },
                        [](const Fields& fields) {
                          return std::all_of(fields.begin(), fields.end(),
                                             [](const Field& f) { return f.value.empty(); });
                        },
                        [](const auto& list) { return list.empty(); },
                    },
                    value_);
}

std::string json_of(const Fields& fields, Texting texting) {
  std::string out;
  for (const Room room : rooms) {
    out.clear();
    FieldWriter(out, room, texting).object(fields);
    if (out.size() < longest_line) break;
  }
  return out;
}

std::string printable(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const char c = text.front();
    if (c == '\\') out += c;
    if (c >= 0x20 && c < 0x7f) {
      out += c;
      text.remove_prefix(1);
      continue;
    }
    const std::uint32_t code = take_character(text).value_or(0xfffd);
    std::array<char, 12> escape{};
    const int length = std::snprintf(escape.data(), escape.size(), code > 0xffff ? "\\U%08x" : "\\u%04x", code);
    out.append(escape.data(), static_cast<std::size_t>(length));
  }
  return out;
}

}  // namespace podfence::flow
