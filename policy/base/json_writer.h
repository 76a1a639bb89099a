#pragma once
// Writes one JSON text, field by field, onto the end of a string. It puts the commas and escapes every string so that
// the output stays one line of valid UTF-8 without control characters, whatever the input holds: bytes below 0x20,
// 0x7f, U+2028 and U+2029 are escaped, invalid UTF-8 becomes U+FFFD.
#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

#include "policy/base/text.h"

namespace podfence {

/// Appends `text` quoted and escaped as above.
void append_json_string(std::string& out, std::string_view text);

class JsonWriter {
 public:
  explicit JsonWriter(std::string& out) : out_(out) {}

  JsonWriter& begin_object();
  JsonWriter& end_object();
  JsonWriter& begin_array();
  JsonWriter& end_array();
  JsonWriter& key(std::string_view name);

  JsonWriter& value(std::string_view text);
  JsonWriter& value(const char* text) { return value(std::string_view(text)); }
  JsonWriter& value(const std::string& text) { return value(std::string_view(text)); }
  JsonWriter& value(const Text& text) { return value(text.view()); }
  JsonWriter& value(bool flag);
  JsonWriter& value(double number);
  template <std::integral T>
  requires(!std::same_as<T, bool>) JsonWriter& value(T number) { return raw(std::to_string(number)); }
  JsonWriter& null() { return raw("null"); }

  /// A text that is JSON already.
  JsonWriter& raw(std::string_view json);

  template <class T>
  JsonWriter& field(std::string_view name, const T& v) {
    return key(name).value(v);
  }

 private:
  void separate();

  std::string& out_;
  bool need_comma_ = false;
};

}  // namespace podfence
