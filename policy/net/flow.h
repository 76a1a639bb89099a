#pragma once
// A question to a policy: one new connection, as the node that judges it sees it (after DNAT, before SNAT).
#include <compare>

#include "policy/net/ip.h"
#include "policy/net/protocol.h"

namespace podfence::net {

struct Flow {
  IpAddr source;
  IpAddr destination;
  Protocol protocol;
  Port destination_port;  // 0 for a protocol without ports
  friend auto operator<=>(const Flow&, const Flow&) = default;
};

enum class Direction : std::uint8_t { ingress, egress };

inline constexpr std::array<Direction, 2> directions{Direction::ingress, Direction::egress};

inline constexpr std::string_view name_of(Direction d) {
  return d == Direction::ingress ? "ingress" : "egress";
}

}  // namespace podfence::net
