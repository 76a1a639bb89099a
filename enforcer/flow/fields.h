#pragma once
// A JSON object as a flat table of fields with their paths: what a mapping to a foreign schema is written as.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace podfence::flow {

struct Field;
using Fields = std::vector<Field>;
using Texts = std::vector<std::string>;

/// What is empty (nothing, an empty text or list, an object without a value) is left out.
class Value {
 public:
  Value() = default;
  // Not explicit, so that a table can be written as one. Defined where Field is complete.
  Value(std::string text);             // NOLINT(google-explicit-constructor)
  Value(std::string_view text);        // NOLINT(google-explicit-constructor)
  Value(const char* text);             // NOLINT(google-explicit-constructor)
  Value(bool flag);                    // NOLINT(google-explicit-constructor)
  Value(Texts texts);                  // NOLINT(google-explicit-constructor)
  Value(Fields object);                // NOLINT(google-explicit-constructor)
  Value(std::vector<Fields> objects);  // NOLINT(google-explicit-constructor)
  Value(std::uint16_t number);         // NOLINT(google-explicit-constructor)
  Value(std::uint32_t number);         // NOLINT(google-explicit-constructor)
  Value(std::uint64_t number);         // NOLINT(google-explicit-constructor)
  template <class T>
  Value(const std::optional<T>& value) {  // NOLINT(google-explicit-constructor)
    if (value) *this = Value(*value);
  }

  const auto& get() const { return value_; }
  bool empty() const;

 private:
  std::variant<std::monostate, std::string, std::uint64_t, bool, Texts, Fields, std::vector<Fields>> value_;
};

/// The path has its parts joined by dots: "source.k8s.pod" is a field of an object in an object. Fields of one object
/// stand together.
struct Field {
  std::string_view path;
  Value value;
};

enum class Texting : std::uint8_t {
  escaped,   // whatever a text holds, as JSON escapes it
  printable  // for readers that print a decoded text as it is: it holds printable ASCII only
};

/// The object in one line of at most 16 KiB with its newline, which is not part of it: long texts are cut, and then the
/// lists of objects are left out and those of texts cut too.
std::string json_of(const Fields& fields, Texting texting);

/// Printable ASCII; a backslash is doubled, everything else is written as \u00e9, \U0001f600 or, when it is no UTF-8,
/// \ufffd.
std::string printable(std::string_view text);

}  // namespace podfence::flow
