#include "policy/net/protocol.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>

namespace podfence::net {
namespace {

struct Named {
  std::string_view name;
  Protocol protocol;
};
constexpr std::array<Named, 5> names{Named{"TCP", tcp}, Named{"UDP", udp}, Named{"SCTP", sctp}, Named{"ICMP", icmp},
                                     Named{"ICMPv6", icmpv6}};

bool same_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

}  // namespace

Result<Protocol> parse_protocol(std::string_view text) {
  for (const auto& named : names) {
    if (same_ignoring_case(text, named.name)) return named.protocol;
  }
  std::uint8_t number = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || ec != std::errc{} || end != text.data() + text.size()) {
    return fail(Errc::invalid, "'" + std::string(text) + "' is not an IP protocol");
  }
  return Protocol{number};
}

std::string text_of(Protocol p) {
  for (const auto& named : names) {
    if (named.protocol == p) return std::string(named.name);
  }
  return std::to_string(p.number);
}

}  // namespace podfence::net
