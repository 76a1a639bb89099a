#pragma once
// One NFLOG message (NFULNL_MSG_PACKET) as a plain value. The bytes come from the kernel, but their payload from
// whoever sent the packet: every read is checked.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "policy/base/result.h"
#include "policy/net/flow.h"
#include "policy/net/ip.h"
#include "policy/net/protocol.h"

namespace podfence::flow {

/// Why our rules logged a packet, by its log prefix.
enum class Why : std::uint8_t {
  policy,        // "pf1:in:policy"
  reply,         // "pf1:in:reply"
  unknown,       // "pf1:in:unknown"
  spoof,         // "pf1:spoof"
  allowed,       // "pf1:in:allow": it was let through, and its pod is observed
  unattributed,  // any other prefix: a rule that is not ours logs to our group
};

struct Prefix {
  Why why = Why::unattributed;
  net::Direction direction = net::Direction::ingress;
  friend bool operator==(const Prefix&, const Prefix&) = default;
};

/// A text that is none of ours is `unattributed`.
Prefix parse_prefix(std::string_view text);

struct LoggedPacket {
  Prefix prefix;
  std::uint8_t hook = 0;
  std::uint32_t in_interface = 0;   // index; 0 = none
  std::uint32_t out_interface = 0;  // index; 0 = none
  std::optional<std::chrono::system_clock::time_point> time;
  std::optional<std::uint32_t> sequence;  // of the NFLOG instance

  /// From the payload; empty when it is no whole IP header.
  bool has_ip = false;
  net::IpAddr source;
  net::IpAddr destination;
  std::uint32_t bytes = 0;  // total length by the IP header, never what was captured
  net::Protocol protocol;   // after IPv6 extension headers
  bool fragment = false;    // not the first one: there are no ports
  std::optional<net::Port> source_port;
  std::optional<net::Port> destination_port;
  std::optional<std::uint8_t> tcp_flags;
  std::optional<std::uint8_t> icmp_type;
  std::optional<std::uint8_t> icmp_code;
};

/// `message` is one netlink message with its header. An error only for what is no well-formed packet message; a payload
/// that ends early gives the fields up to there.
Result<LoggedPacket> decode_nflog(std::span<const std::byte> message);

}  // namespace podfence::flow
