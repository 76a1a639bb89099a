#pragma once
// Where the plugins of a conflist lie in its text, and edits of that list which leave every other byte alone: the file
// belongs to somebody else, and what a parser prints again is not what was read.
// Law: without_elements(with_element(text, e), the last one) == text.
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "policy/base/result.h"

namespace podfence::install {

struct Span {
  std::size_t begin = 0;
  std::size_t end = 0;
  std::string_view of(std::string_view text) const { return text.substr(begin, end - begin); }
  friend bool operator==(const Span&, const Span&) = default;
};

/// The elements of the list `plugins` of a text that a parser has accepted as an object. Refuses an object that has one
/// of the keys `plugins`, `name`, `cniVersion` twice: readers would differ on which one counts.
Result<std::vector<Span>> plugin_spans(std::string_view text);

/// `text` with one more element behind the last one, set off as that one is. There must be one.
std::string with_element(std::string_view text, std::string_view element);

/// `text` without these elements of its list, given by their places.
std::string without_elements(std::string_view text, const std::vector<std::size_t>& places);

}  // namespace podfence::install
