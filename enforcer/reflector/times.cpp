#include "enforcer/reflector/times.h"

#include <algorithm>

namespace podfence::reflector {

bool has_cause(const api::Status& status, std::string_view reason) {
  return std::find(status.causes.begin(), status.causes.end(), reason) != status.causes.end();
}

std::string percent_encoded(std::string_view text) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '.' || c == '_' || c == '~';
    const auto byte = static_cast<unsigned char>(c);
    if (plain) {
      out += c;
    } else {
      out += {'%', digits[byte >> 4U], digits[byte & 15U]};
    }
  }
  return out;
}

std::string printable(std::string_view text) {
  std::string out;
  for (const char c : text) out += c >= 0x20 && c < 0x7f ? c : (c == '\n' ? ' ' : '?');
  while (out.ends_with(' ')) out.pop_back();
  return out;
}

}  // namespace podfence::reflector
