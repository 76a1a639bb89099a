#include "enforcer/flow/time.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <optional>

namespace podfence::flow {
namespace {

using std::chrono::days;
using std::chrono::floor;
using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::minutes;
using std::chrono::seconds;

std::string written(TimePoint t, const char* format) {
  const auto day = floor<days>(t);
  const std::chrono::year_month_day date(day);
  const auto rest = floor<microseconds>(t - day);
  const auto second = floor<seconds>(rest);
  std::array<char, 64> text{};
  const int length =
      std::snprintf(text.data(), text.size(), format, static_cast<int>(date.year()),
                    static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                    static_cast<int>(second / hours(1)), static_cast<int>(second % hours(1) / minutes(1)),
                    static_cast<int>((second % minutes(1)).count()), static_cast<long>((rest - second).count()));
  return std::string(text.data(), static_cast<std::size_t>(length));
}

/// A number of exactly that many digits at the front of `text`.
std::optional<int> take_digits(std::string_view& text, std::size_t count) {
  if (text.size() < count) return std::nullopt;
  int value = 0;
  for (const char c : text.substr(0, count)) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + (c - '0');
  }
  text.remove_prefix(count);
  return value;
}

bool take_one_of(std::string_view& text, std::string_view allowed) {
  if (text.empty() || allowed.find(text.front()) == std::string_view::npos) return false;
  text.remove_prefix(1);
  return true;
}

/// A run of numbers of two digits (the first has `first` digits) with those separators between them.
std::optional<std::array<int, 3>> take_three(std::string_view& text, std::size_t first, std::string_view separator) {
  std::array<int, 3> values{};
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i > 0 && !take_one_of(text, separator)) return std::nullopt;
    const auto value = take_digits(text, i == 0 ? first : 2);
    if (!value) return std::nullopt;
    values[i] = *value;
  }
  return values;
}

/// ".123456" or nothing; digits beyond the microsecond are dropped.
std::optional<microseconds> take_fraction(std::string_view& text) {
  if (!take_one_of(text, ".")) return microseconds(0);
  if (text.empty() || text.front() < '0' || text.front() > '9') return std::nullopt;
  microseconds fraction(0);
  for (int unit = 100'000; !text.empty() && text.front() >= '0' && text.front() <= '9'; unit /= 10) {
    fraction += microseconds(unit * (text.front() - '0'));
    text.remove_prefix(1);
  }
  return fraction;
}

/// "Z" or "+02:00"
std::optional<minutes> take_offset(std::string_view& text) {
  if (take_one_of(text, "Zz")) return minutes(0);
  const bool west = !text.empty() && text.front() == '-';
  if (!take_one_of(text, "+-")) return std::nullopt;
  const auto hour = take_digits(text, 2);
  if (!hour || !take_one_of(text, ":")) return std::nullopt;
  const auto minute = take_digits(text, 2);
  if (!minute || *hour > 23 || *minute > 59) return std::nullopt;
  const minutes offset = hours(*hour) + minutes(*minute);
  return west ? -offset : offset;
}

}  // namespace

std::string text_of(TimePoint t) {
  return written(t, "%04d-%02u-%02uT%02d:%02d:%02d.%06ldZ");
}

std::string compact_text_of(TimePoint t) {
  return written(t, "%04d%02u%02uT%02d%02d%02d.%06ldZ");
}

Result<TimePoint> parse_time(std::string_view text) {
  const auto wrong = [whole = std::string(text)] {
    return fail(Errc::invalid, "'" + whole + "' is not a time like 2026-11-23T17:30:00Z");
  };
  const auto date = take_three(text, 4, "-");
  if (!date || !take_one_of(text, "Tt ")) return wrong();
  const auto clock = take_three(text, 2, ":");
  if (!clock) return wrong();
  const auto fraction = take_fraction(text);
  if (!fraction) return wrong();
  const auto offset = take_offset(text);
  const auto day = std::chrono::year{(*date)[0]} / static_cast<int>((*date)[1]) / static_cast<int>((*date)[2]);
  if (!offset || !text.empty() || !day.ok() || (*clock)[0] > 23 || (*clock)[1] > 59 || (*clock)[2] > 60) return wrong();
  return TimePoint(std::chrono::sys_days(day) + hours((*clock)[0]) + minutes((*clock)[1]) + seconds((*clock)[2]) +
                   *fraction - *offset);
}

Result<TimePoint> parse_since(std::string_view text, TimePoint now) {
  std::int64_t number = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (ec == std::errc{} && number >= 0 && number <= 1'000'000'000 && end + 1 == text.data() + text.size()) {
    switch (*end) {
      case 's':
        return now - seconds(number);
      case 'm':
        return now - minutes(number);
      case 'h':
        return now - hours(std::min<std::int64_t>(number, 1'000'000));
      case 'd':
        return now - days(std::min<std::int64_t>(number, 40'000));
      default:
        break;
    }
  }
  auto time = parse_time(text);
  if (!time)
    return fail(Errc::invalid,
                "'" + std::string(text) + "' is neither a span like 5m nor a time like 2026-11-23T17:30:00Z");
  return time;
}

}  // namespace podfence::flow
