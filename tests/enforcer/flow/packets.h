#pragma once
// NFLOG messages as the kernel makes them, for tests.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "enforcer/flow/decode.h"
#include "policy/net/ip.h"

namespace podfence::flow::test {

using Bytes = std::vector<std::byte>;

Bytes bytes(std::initializer_list<int> values);
void append(Bytes& out, std::span<const std::byte> more);

/// An IPv4 or IPv6 packet with that transport header; `extra` is what stands between an IPv6 header and it.
struct PacketParts {
  std::string source = "10.0.1.5";
  std::string destination = "10.0.2.9";
  int protocol = 6;
  std::uint16_t source_port = 43210;
  std::uint16_t destination_port = 5432;
  int tcp_flags = 0x02;
  std::uint16_t total_length = 60;   // IPv4: total; IPv6: payload length
  std::uint16_t fragment_field = 0;  // IPv4
};
Bytes ip_packet(const PacketParts& parts);
Bytes transport_header(const PacketParts& parts);
Bytes ipv6_packet(const PacketParts& parts, int next_header, const Bytes& after_header);

struct MessageParts {
  std::string prefix = "pf1:in:policy";
  std::uint32_t in_interface = 3;
  std::uint32_t out_interface = 4;
  std::optional<std::uint32_t> sequence;
  std::optional<std::uint64_t> seconds;
  std::uint64_t microseconds = 0;
  Bytes payload;
};
Bytes nflog_message(const MessageParts& parts);
void append_attribute(Bytes& out, std::uint16_t type, std::span<const std::byte> value);
void set_length(Bytes& message);

}  // namespace podfence::flow::test
