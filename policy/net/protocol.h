#pragma once
// An IP protocol number (IANA), and a transport port.
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "policy/base/result.h"

namespace podfence::net {

struct Protocol {
  std::uint8_t number = 0;
  friend auto operator<=>(const Protocol&, const Protocol&) = default;
};

inline constexpr Protocol icmp{1};
inline constexpr Protocol tcp{6};
inline constexpr Protocol udp{17};
inline constexpr Protocol icmpv6{58};
inline constexpr Protocol sctp{132};

/// The protocols that a NetworkPolicy port can name.
inline constexpr bool has_ports(Protocol p) {
  return p == tcp || p == udp || p == sctp;
}

/// "TCP", "UDP", "SCTP", "ICMP", "ICMPv6" in any case, or a number 0-255.
Result<Protocol> parse_protocol(std::string_view text);

/// "TCP", "UDP", "SCTP", "ICMP", "ICMPv6" or the number.
std::string text_of(Protocol p);

/// A transport port in host order. 0 stands for "no port" (ICMP) in a flow and never appears in a rule.
struct Port {
  std::uint16_t number = 0;
  friend auto operator<=>(const Port&, const Port&) = default;
};

/// Inclusive at both ends; first <= last.
struct PortRange {
  Port first;
  Port last;
  bool contains(Port p) const { return first <= p && p <= last; }
  friend auto operator<=>(const PortRange&, const PortRange&) = default;
};

inline constexpr PortRange every_port{Port{1}, Port{65535}};

}  // namespace podfence::net
