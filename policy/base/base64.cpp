#include "policy/base/base64.h"

#include <cstddef>
#include <cstdint>

namespace podfence {
namespace {

constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

}  // namespace

std::string encode_base64(std::string_view bytes) {
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t bits = 0;
    for (std::size_t j = 0; j < 3; ++j) {
      bits = bits << 8U | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0U);
    }
    for (std::size_t j = 0; j < 4; ++j) {
      out += i + j > bytes.size() ? '=' : digits[bits >> (18U - 6U * static_cast<unsigned>(j)) & 63U];
    }
  }
  return out;
}

Result<std::string> decode_base64(std::string_view text) {
  std::string out;
  std::uint32_t bits = 0;
  unsigned count = 0;
  std::size_t read = 0;
  std::size_t padding = 0;
  for (const char c : text) {
    if (c == '\n' || c == '\r' || c == ' ') continue;
    ++read;
    if (c == '=') {
      ++padding;
      continue;
    }
    const auto value = digits.find(c);
    if (value == std::string_view::npos || padding > 0) return fail(Errc::invalid, "is no base64");
    bits = (bits << 6U | static_cast<std::uint32_t>(value)) & 0xffffU;
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out += static_cast<char>(bits >> count & 0xffU);
  }
  if (read % 4 != 0) return fail(Errc::invalid, "is no base64: its length is no multiple of 4");
  if (padding > 2) return fail(Errc::invalid, "is no base64");
  return out;
}

}  // namespace podfence
