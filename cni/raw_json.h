#pragma once
// Where the parts of a JSON object lie in its text, so that a value can be handed on byte for byte: a parser that
// builds values and prints them again loses the order of keys, unknown keys, and digits of numbers.
#include <optional>
#include <string>
#include <string_view>

namespace podfence::cni {

/// The text of the value of `key` in the object `object`, without the white space around it. Of a key that is there
/// more than once the last one counts, as for parsers. The text must be valid JSON; what is not gives nothing.
std::optional<std::string_view> raw_member(std::string_view object, std::string_view key);

/// `object` with `value` (JSON) as the value of `key`: in the place of the old one, or first. All else stays.
std::string with_member(std::string_view object, std::string_view key, std::string_view value);

}  // namespace podfence::cni
