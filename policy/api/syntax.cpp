#include "policy/api/syntax.h"

#include <algorithm>
#include <charconv>
#include <chrono>

namespace podfence::api {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_lower(char c) {
  return c >= 'a' && c <= 'z';
}
bool is_alnum(char c) {
  return is_digit(c) || is_lower(c) || (c >= 'A' && c <= 'Z');
}

bool is_dns_part(std::string_view text) {
  const auto edge = [](char c) { return is_lower(c) || is_digit(c); };
  return !text.empty() && edge(text.front()) && edge(text.back()) &&
         std::all_of(text.begin(), text.end(), [&](char c) { return edge(c) || c == '-'; });
}

/// The name part of a label key, and a label value that is not empty.
bool is_label_word(std::string_view text) {
  return !text.empty() && text.size() <= 63 && is_alnum(text.front()) && is_alnum(text.back()) &&
         std::all_of(text.begin(), text.end(), [](char c) { return is_alnum(c) || c == '-' || c == '_' || c == '.'; });
}

/// Takes a number of exactly `digits` digits off the front.
std::optional<int> take_number(std::string_view& text, std::size_t digits) {
  if (text.size() < digits ||
      !std::all_of(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(digits), is_digit)) {
    return std::nullopt;
  }
  int number = 0;
  std::from_chars(text.data(), text.data() + digits, number);
  text.remove_prefix(digits);
  return number;
}

bool take_char(std::string_view& text, std::string_view any_of) {
  if (text.empty() || any_of.find(text.front()) == std::string_view::npos) return false;
  text.remove_prefix(1);
  return true;
}

/// "Z" or "+01:30", in seconds.
std::optional<int> take_zone(std::string_view& text) {
  if (take_char(text, "Zz")) return 0;
  if (text.empty()) return std::nullopt;
  const int sign = text.front() == '-' ? -1 : 1;
  if (!take_char(text, "+-")) return std::nullopt;
  const auto hours = take_number(text, 2);
  if (!hours || !take_char(text, ":")) return std::nullopt;
  const auto minutes = take_number(text, 2);
  if (!minutes || *hours > 23 || *minutes > 59) return std::nullopt;
  return sign * (*hours * 3600 + *minutes * 60);
}

}  // namespace

bool is_dns_label(std::string_view text) {
  return text.size() <= 63 && is_dns_part(text);
}

bool is_dns_subdomain(std::string_view text) {
  if (text.size() > 253) return false;
  while (true) {
    const auto dot = text.find('.');
    if (!is_dns_part(text.substr(0, dot))) return false;
    if (dot == std::string_view::npos) return true;
    text.remove_prefix(dot + 1);
  }
}

bool is_label_key(std::string_view text) {
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) return is_label_word(text);
  return is_dns_subdomain(text.substr(0, slash)) && is_label_word(text.substr(slash + 1));
}

bool is_label_value(std::string_view text) {
  return text.empty() || is_label_word(text);
}

bool is_port_name(std::string_view text) {
  return text.size() <= 15 && is_dns_part(text) && std::any_of(text.begin(), text.end(), is_lower) &&
         text.find("--") == std::string_view::npos;
}

std::optional<std::int64_t> parse_timestamp(std::string_view text) {
  using namespace std::chrono;
  const auto number = [&](std::size_t digits) { return take_number(text, digits).value_or(-1); };
  const int y = number(4);
  if (y < 0 || !take_char(text, "-")) return std::nullopt;
  const int mon = number(2);
  if (!take_char(text, "-")) return std::nullopt;
  const int d = number(2);
  if (!take_char(text, "Tt ")) return std::nullopt;
  const int h = number(2);
  if (!take_char(text, ":")) return std::nullopt;
  const int min = number(2);
  if (!take_char(text, ":")) return std::nullopt;
  const int s = number(2);
  if (mon < 1 || d < 1 || h < 0 || h > 23 || min < 0 || min > 59 || s < 0 || s > 60) return std::nullopt;
  const year_month_day date{year{y}, month{static_cast<unsigned>(mon)}, day{static_cast<unsigned>(d)}};
  if (!date.ok()) return std::nullopt;
  if (take_char(text, ".")) {
    if (text.empty() || !is_digit(text.front())) return std::nullopt;
    while (!text.empty() && is_digit(text.front())) text.remove_prefix(1);
  }
  const auto zone = take_zone(text);
  if (!zone || !text.empty()) return std::nullopt;
  const std::int64_t days = sys_days{date}.time_since_epoch().count();
  return days * 86400 + h * 3600 + min * 60 + s - *zone;
}

std::optional<std::string> timestamp_text(std::int64_t seconds) {
  using namespace std::chrono;
  constexpr std::int64_t first = -62'135'596'800;
  constexpr std::int64_t last = 253'402'300'799;
  if (seconds <= first || seconds > last) return std::nullopt;
  const sys_seconds time{std::chrono::seconds(seconds)};
  const auto midnight = floor<days>(time);
  const year_month_day date(midnight);
  const hh_mm_ss clock(time - midnight);
  const auto digits = [](auto number, std::size_t width) {
    auto text = std::to_string(number);
    return std::string(width - std::min(width, text.size()), '0') + text;
  };
  return digits(static_cast<int>(date.year()), 4) + "-" + digits(static_cast<unsigned>(date.month()), 2) + "-" +
         digits(static_cast<unsigned>(date.day()), 2) + "T" + digits(clock.hours().count(), 2) + ":" +
         digits(clock.minutes().count(), 2) + ":" + digits(clock.seconds().count(), 2) + "Z";
}

}  // namespace podfence::api
