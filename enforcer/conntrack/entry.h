#pragma once
// Connection tracking entries as plain values, and the two operations that the agent needs: walk them all, clear one
// label bit of one of them. (net/netfilter/nf_conntrack_netlink.c)
#include <array>
#include <cstdint>
#include <functional>
#include <optional>

#include "enforcer/netlink/socket.h"
#include "policy/net/flow.h"

namespace podfence::conntrack {

struct Tuple {
  net::IpAddr source;
  net::IpAddr destination;
  net::Protocol protocol;
  net::Port source_port;  // 0 without ports
  net::Port destination_port;
  std::uint16_t icmp_id = 0;  // of ICMP and ICMPv6, which have these instead of ports
  std::uint8_t icmp_type = 0;
  std::uint8_t icmp_code = 0;
  friend auto operator<=>(const Tuple&, const Tuple&) = default;
};

struct Entry {
  Tuple original;
  Tuple reply;                            // what the answers look like before they are translated back
  std::array<std::uint8_t, 16> labels{};  // bit b is bit b % 8 of byte b / 8; all zero without the extension
  std::uint16_t zone = 0;

  bool has_label(std::uint8_t bit) const { return ((labels[bit / 8] >> (bit % 8)) & 1U) != 0; }
  /// The flow as the forward hook sees its first packet: after DNAT, before SNAT.
  net::Flow forwarded() const { return {original.source, reply.source, original.protocol, reply.source_port}; }
};

/// One message of a dump; nothing when it is no entry, is cut short, or has a protocol without an address pair.
std::optional<Entry> parse_entry(const nlmsghdr* message);

/// Calls `each` for every entry of this network namespace, IPv4 and IPv6. An interrupted dump is started over.
Result<> walk(netlink::Socket& socket, const std::function<void(const Entry&)>& each);

/// False when the entry is gone meanwhile.
Result<bool> clear_label(netlink::Socket& socket, const Entry& entry, std::uint8_t bit);

}  // namespace podfence::conntrack
