#pragma once
// A value of a JSON document together with where it stands: its path inside the object, and its line when the document
// was YAML. A value points to its parent, which must live as long.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

// The amalgamated header is not ours: its warnings are not either.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wold-style-cast"
#pragma GCC diagnostic ignored "-Wshadow"
#include <simdjson.h>
#pragma GCC diagnostic pop

namespace podfence::api {

/// One value of a YAML document, in document order: its line, and the index of the value after it and all inside it.
struct NodeLine {
  std::uint32_t line = 0;
  std::uint32_t next = 0;
};

class Value {
 public:
  /// The root of a document. `lines` is empty for JSON.
  Value(simdjson::dom::element element, std::span<const NodeLine> lines)
      : element_(element), given_(!element.is_null()), lines_(lines) {}

  /// Neither missing nor null.
  bool given() const { return given_; }
  bool is_object() const { return given_ && element_.is_object(); }
  bool is_array() const { return given_ && element_.is_array(); }
  bool is_string() const { return given_ && element_.is_string(); }
  bool is_bool() const { return given_ && element_.is_bool(); }
  /// A whole number that fits, as JSON writes it: 80, not 80.5.
  bool is_integer() const { return given_ && element_.is_int64(); }

  std::string_view string() const { return element_.get_string().value_unsafe(); }
  bool boolean() const { return element_.get_bool().value_unsafe(); }
  std::int64_t integer() const { return element_.get_int64().value_unsafe(); }

  /// The field of an object; a value that is not given when there is none, when it is null, or when this is no object.
  Value get(std::string_view key) const&;
  Value get(std::string_view key) const&& = delete;  // it would point to a parent that is gone

  /// Calls each(key, value) for all fields of an object, null ones too.
  template <class F>
  void each_field(const F& each) const {
    if (!is_object()) return;
    std::uint32_t node = node_ + 1;
    for (const auto [key, element] : simdjson::dom::object(element_)) {
      each(key, child(element, key, no_index, node));
      node = after(node);
    }
  }
  /// Calls each(value) for all items of an array, null ones too.
  template <class F>
  void each_item(const F& each) const {
    if (!is_array()) return;
    std::uint32_t node = node_ + 1;
    std::size_t index = 0;
    for (const auto element : simdjson::dom::array(element_)) {
      each(child(element, {}, index++, node));
      node = after(node);
    }
  }
  std::size_t size() const;

  std::string path() const;       // "spec.ingress[0].from"; "" for the root
  std::size_t line() const;       // of the nearest value around it that is there; 0 when not known
  std::string shown() const;      // its text for a message: quoted and cut short; containers by their type
  std::string_view type() const;  // "a string", "a list", ...

  /// The same value as the root of its own paths: an item of a List.
  Value as_root() const;
  std::size_t index() const { return index_; }

 private:
  static constexpr std::size_t no_index = static_cast<std::size_t>(-1);

  Value() = default;
  Value child(simdjson::dom::element element, std::string_view key, std::size_t index, std::uint32_t node) const;
  std::uint32_t after(std::uint32_t node) const { return node < lines_.size() ? lines_[node].next : node; }

  simdjson::dom::element element_;
  bool given_ = false;
  const Value* parent_ = nullptr;
  std::string_view key_;
  std::size_t index_ = no_index;
  std::span<const NodeLine> lines_;
  std::uint32_t node_ = 0;
};

/// Quoted, cut to a readable length, without control characters.
std::string quote(std::string_view text);

}  // namespace podfence::api
