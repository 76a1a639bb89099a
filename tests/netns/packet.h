#pragma once
// Packets as bytes. The first one of a flow carries a 32-bit id where its protocol has room for one, so that whoever
// receives it, or an answer to it, knows which flow it was: TCP's sequence number, SCTP's initiate tag, ICMP's id and
// sequence, the first four bytes of any other payload.
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "policy/net/flow.h"

namespace podfence::test {

using Bytes = std::vector<std::uint8_t>;

struct PacketSpec {
  net::Flow flow;
  net::Port source_port;
  std::uint32_t id = 0;
  std::uint8_t tos = 0;        // or traffic class
  std::size_t payload = 0;     // more bytes behind
  std::uint8_t icmp_type = 0;  // 0 = echo request of the family
  std::uint8_t icmp_code = 0;
  Bytes body;                     // behind an ICMP header, instead of `payload`
  std::uint8_t tcp_flags = 0x02;  // SYN
  std::uint8_t hop_limit = 64;
};

/// IP header, transport header and id, with right checksums.
Bytes packet_of(const PacketSpec& spec);

/// The same in fragments of at most `size` bytes of payload (a multiple of 8).
std::vector<Bytes> fragments_of(const Bytes& packet, std::size_t size);

/// A transport segment that came in.
struct Received {
  std::uint32_t id = 0;
  bool is_answer = false;  // a reset of the connection, an echo reply
  net::Port destination_port;
};
/// Whether a host that is not asked for anything in particular answers: with a reset, or an echo reply.
inline constexpr bool is_answered(net::Protocol p) {
  return p == net::tcp || p == net::icmp || p == net::icmpv6;
}
std::optional<Received> parse_segment(net::Protocol protocol, std::span<const std::uint8_t> segment);

/// An ARP request or (un)solicited reply, from its ethernet header on.
struct Arp {
  std::array<std::uint8_t, 6> source_mac;
  net::IpAddr sender;
  net::IpAddr target;
};
Bytes arp_request(const Arp& arp);

/// The ones' complement sum of RFC 1071 over the bytes, folded and inverted.
std::uint16_t internet_checksum(std::span<const std::uint8_t> bytes, std::uint32_t start = 0);

}  // namespace podfence::test
