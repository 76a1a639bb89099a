#pragma once
// Finds where JSON values end in a stream that may be cut anywhere, without holding more than one value. Whether a
// value is right inside is for its decoder to say.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "policy/base/result.h"

namespace podfence::reflector {

/// The longest item and the longest frame (kube.md W16: as client-go).
constexpr std::size_t longest_value = std::size_t{16} << 20U;

/// JSON's own white space.
bool is_space(char c);

/// One value: an object, a list, a string, or a bare word up to what cannot belong to it.
class ValueScanner {
 public:
  /// How many of the bytes belong to the value.
  std::size_t take(std::string_view bytes);
  bool done() const { return state_ == State::done; }
  void reset() { *this = {}; }

 private:
  enum class State : std::uint8_t { start, word, inside, string, escape, done };
  State state_ = State::start;
  std::size_t depth_ = 0;
};

/// Values one after the other, with white space between them: the events of a watch.
class FrameReader {
 public:
  /// Calls frame(text) for each that is whole now, until one returns false. An error: something that is no object, or
  /// that is too long.
  Result<> take(std::string_view bytes, const std::function<bool(std::string_view)>& frame);
  /// Of a frame that is not whole yet.
  std::size_t waiting() const { return text_.size(); }

 private:
  ValueScanner scanner_;
  std::string text_;
};

/// The body of a list, item by item; what else it says is kept until its end.
class ListReader {
 public:
  using EachItem = std::function<Result<>(std::string_view)>;
  /// Calls item(text) for each that is whole now.
  Result<> take(std::string_view bytes, const EachItem& item);
  /// Whether the body was whole.
  bool done() const { return state_ == State::end; }
  const std::string& metadata() const { return metadata_; }  // the text of that field
  const std::string& kind() const { return kind_; }          // likewise
  bool has_items() const { return has_items_; }

 private:
  enum class State : std::uint8_t {
    start,
    first_key,
    key,
    in_key,
    colon,
    value,
    in_value,
    after,
    first_item,
    item,
    in_item,
    after_item,
    end
  };
  Result<> step(std::string_view& bytes, const EachItem& item);
  Result<> punctuation(char c);
  Result<> collect(std::string_view& bytes, const EachItem& item);
  Result<> ended(const EachItem& item);

  State state_ = State::start;
  ValueScanner scanner_;
  std::string text_;  // of the value that is being read
  std::string key_;
  std::string metadata_;
  std::string kind_;
  bool has_items_ = false;
};

}  // namespace podfence::reflector
