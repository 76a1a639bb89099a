#include "enforcer/cli/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <limits>
#include <string_view>

namespace podfence::cli {
namespace {

constexpr std::size_t usual = 80;
constexpr std::size_t least = 20;  // less is no terminal that a line could be fitted into

/// 0 when it says nothing of use.
std::size_t columns_of_environment() {
  const char* const text = std::getenv("COLUMNS");
  if (text == nullptr) return 0;
  const std::string_view digits(text);
  std::size_t columns = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), columns);
  return error == std::errc{} && end == digits.data() + digits.size() ? columns : 0;
}

}  // namespace

std::size_t output_width() {
  if (::isatty(STDOUT_FILENO) == 0) return std::numeric_limits<std::size_t>::max();
  if (const std::size_t columns = columns_of_environment(); columns >= least) return columns;
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= least) return size.ws_col;
  return usual;
}

}  // namespace podfence::cli
