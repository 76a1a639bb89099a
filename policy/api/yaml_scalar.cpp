#include "policy/api/yaml_scalar.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>

namespace podfence::api {
namespace {

constexpr std::array<std::string_view, 5> nulls{"", "~", "null", "Null", "NULL"};
constexpr std::array<std::string_view, 11> trues{"y",    "Y",    "yes", "Yes", "YES", "true",
                                                 "True", "TRUE", "on",  "On",  "ON"};
constexpr std::array<std::string_view, 11> falses{"n",     "N",     "no",  "No",  "NO", "false",
                                                  "False", "FALSE", "off", "Off", "OFF"};

template <class List>
bool is_one_of(const List& list, std::string_view text) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

std::optional<std::uint64_t> parse_magnitude(std::string_view digits) {
  int base = 10;
  if (digits.size() > 1 && digits[0] == '0') {
    const char mark = static_cast<char>(digits[1] | 0x20);  // a digit stays a digit
    if (!is_digit(mark) && mark != 'x' && mark != 'b' && mark != 'o') return std::nullopt;
    base = mark == 'x' ? 16 : mark == 'b' ? 2 : 8;
    digits.remove_prefix(is_digit(digits[1]) ? 1 : 2);
  }
  std::uint64_t out = 0;
  const auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), out, base);
  if (digits.empty() || ec != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
  return out;
}

std::optional<std::string> parse_integer(std::string_view text) {
  const bool negative = text.front() == '-';
  if (text.front() == '-' || text.front() == '+') text.remove_prefix(1);
  if (text.empty() || !is_digit(text.front())) return std::nullopt;
  const auto magnitude = parse_magnitude(text);
  if (!magnitude) return std::nullopt;
  if (!negative || *magnitude == 0) return std::to_string(*magnitude);
  constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (*magnitude > most + 1) return std::nullopt;
  return "-" + std::to_string(*magnitude);
}

/// [-+]?[0-9]*\.?[0-9]+([eE][-+]?[0-9]+)?  and "1." as the reader of kubectl takes them.
bool has_float_shape(std::string_view text) {
  if (text.front() == '-' || text.front() == '+') text.remove_prefix(1);
  const auto skip_digits = [&] {
    std::size_t count = 0;
    while (count < text.size() && is_digit(text[count])) ++count;
    text.remove_prefix(count);
    return count;
  };
  std::size_t digits = skip_digits();
  if (!text.empty() && text.front() == '.') {
    text.remove_prefix(1);
    digits += skip_digits();
  }
  if (digits == 0) return false;
  if (text.empty()) return true;
  if (text.front() != 'e' && text.front() != 'E') return false;
  text.remove_prefix(1);
  if (!text.empty() && (text.front() == '-' || text.front() == '+')) text.remove_prefix(1);
  return skip_digits() > 0 && text.empty();
}

std::optional<std::string> parse_float(std::string_view text) {
  if (!has_float_shape(text)) return std::nullopt;
  if (text.front() == '+') text.remove_prefix(1);
  double value = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec != std::errc{} || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  // 80.0 becomes 80, as it does in JSON made by kubectl.
  std::array<char, 64> out{};
  const auto shape = std::fabs(value) < 1e15 ? std::chars_format::general : std::chars_format::scientific;
  const auto written = std::to_chars(out.data(), out.data() + out.size(), value, shape);
  return std::string(out.data(), written.ptr);
}

}  // namespace

Scalar resolve_plain(std::string_view text) {
  if (is_one_of(nulls, text)) return {ScalarType::null, "null"};
  if (is_one_of(trues, text)) return {ScalarType::boolean, "true"};
  if (is_one_of(falses, text)) return {ScalarType::boolean, "false"};
  const char first = text.front();
  if (!is_digit(first) && first != '-' && first != '+' && first != '.') return {};
  std::string plain(text);
  plain.erase(std::remove(plain.begin(), plain.end(), '_'), plain.end());
  if (plain.empty()) return {};
  if (auto integer = parse_integer(plain)) return {ScalarType::integer, *std::move(integer)};
  if (auto floating = parse_float(plain)) return {ScalarType::floating, *std::move(floating)};
  return {};
}

}  // namespace podfence::api
