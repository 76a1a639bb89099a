#include "tests/netns/packet.h"

#include <algorithm>
#include <numeric>

namespace podfence::test {
namespace {

constexpr std::size_t header4 = 20;
constexpr std::size_t header6 = 40;

void put16(Bytes& bytes, std::size_t value) {
  bytes.push_back(static_cast<std::uint8_t>(value >> 8U & 0xffU));
  bytes.push_back(static_cast<std::uint8_t>(value & 0xffU));
}
void put32(Bytes& bytes, std::uint32_t value) {
  put16(bytes, value >> 16U);
  put16(bytes, value & 0xffffU);
}
void put(Bytes& bytes, std::span<const std::uint8_t> more) {
  bytes.insert(bytes.end(), more.begin(), more.end());
}
void set16(Bytes& bytes, std::size_t at, std::uint16_t value) {
  bytes[at] = static_cast<std::uint8_t>(value >> 8U);
  bytes[at + 1] = static_cast<std::uint8_t>(value & 0xffU);
}
std::uint16_t get16(std::span<const std::uint8_t> bytes, std::size_t at) {
  return static_cast<std::uint16_t>(bytes[at] << 8U | bytes[at + 1]);
}
std::uint32_t get32(std::span<const std::uint8_t> bytes, std::size_t at) {
  return static_cast<std::uint32_t>(get16(bytes, at)) << 16U | get16(bytes, at + 2);
}

/// SCTP's CRC32c, bit by bit.
std::uint32_t crc32c(std::span<const std::uint8_t> bytes) {
  std::uint32_t crc = 0xffffffffU;
  for (const auto byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1U) != 0 ? crc >> 1U ^ 0x82f63b78U : crc >> 1U;
  }
  return ~crc;
}

/// The sum over the pseudo header that TCP, UDP and ICMPv6 cover.
std::uint32_t pseudo_sum(const net::Flow& flow, std::size_t length) {
  std::uint32_t sum = flow.protocol.number + static_cast<std::uint32_t>(length);
  for (const auto& ip : {flow.source, flow.destination}) {
    for (std::size_t i = 0; i < ip.bytes().size(); i += 2) sum += get16(ip.bytes(), i);
  }
  return sum;
}

Bytes tcp_segment(const PacketSpec& spec) {
  Bytes s;
  put16(s, spec.source_port.number);
  put16(s, spec.flow.destination_port.number);
  put32(s, spec.id);
  put32(s, 0);
  s.push_back(0x50);
  s.push_back(spec.tcp_flags);
  put16(s, 64240);
  put32(s, 0);
  s.resize(s.size() + spec.payload);
  set16(s, 16, internet_checksum(s, pseudo_sum(spec.flow, s.size())));
  return s;
}

Bytes udp_segment(const PacketSpec& spec) {
  Bytes s;
  put16(s, spec.source_port.number);
  put16(s, spec.flow.destination_port.number);
  put16(s, 12 + spec.payload);
  put16(s, 0);
  put32(s, spec.id);
  s.resize(s.size() + spec.payload);
  const auto sum = internet_checksum(s, pseudo_sum(spec.flow, s.size()));
  set16(s, 6, sum == 0 ? 0xffffU : sum);
  return s;
}

/// An INIT chunk: nothing else may begin an association.
Bytes sctp_segment(const PacketSpec& spec) {
  Bytes s;
  put16(s, spec.source_port.number);
  put16(s, spec.flow.destination_port.number);
  put32(s, 0);  // verification tag
  put32(s, 0);  // checksum
  s.push_back(1);
  s.push_back(0);
  put16(s, 20);
  put32(s, spec.id == 0 ? 1 : spec.id);
  put32(s, 65536);
  put16(s, 1);
  put16(s, 1);
  put32(s, 1);
  const auto crc = crc32c(s);
  for (std::size_t i = 0; i < 4; ++i) s[8 + i] = static_cast<std::uint8_t>(crc >> (8 * i) & 0xffU);
  return s;
}

/// The id's low half is ICMP's own id: conntrack tells flows apart by it and not by the sequence.
Bytes icmp_message(const PacketSpec& spec, bool v6) {
  Bytes s;
  const std::uint8_t echo = v6 ? 128 : 8;
  s.push_back(spec.icmp_type == 0 ? echo : spec.icmp_type);
  s.push_back(spec.icmp_code);
  put16(s, 0);
  put16(s, spec.id & 0xffffU);
  put16(s, spec.id >> 16U);
  put(s, spec.body);
  s.resize(s.size() + spec.payload);
  set16(s, 2, internet_checksum(s, v6 ? pseudo_sum(spec.flow, s.size()) : 0));
  return s;
}

Bytes segment_of(const PacketSpec& spec) {
  if (spec.flow.protocol == net::tcp) return tcp_segment(spec);
  if (spec.flow.protocol == net::udp) return udp_segment(spec);
  if (spec.flow.protocol == net::sctp) return sctp_segment(spec);
  if (spec.flow.protocol == net::icmp) return icmp_message(spec, false);
  if (spec.flow.protocol == net::icmpv6) return icmp_message(spec, true);
  Bytes s;
  put32(s, spec.id);
  s.resize(s.size() + 16 + spec.payload);
  return s;
}

Bytes ip4_header(const PacketSpec& spec, std::size_t payload) {
  Bytes h{0x45, spec.tos};
  put16(h, header4 + payload);
  put16(h, spec.id & 0xffffU);
  put16(h, 0);
  h.push_back(spec.hop_limit);
  h.push_back(spec.flow.protocol.number);
  put16(h, 0);
  put(h, spec.flow.source.bytes());
  put(h, spec.flow.destination.bytes());
  set16(h, 10, internet_checksum(h));
  return h;
}

Bytes ip6_header(const PacketSpec& spec, std::size_t payload) {
  Bytes h{static_cast<std::uint8_t>(0x60U | spec.tos >> 4U), static_cast<std::uint8_t>(spec.tos << 4U & 0xf0U), 0, 0};
  put16(h, payload);
  h.push_back(spec.flow.protocol.number);
  h.push_back(spec.hop_limit);
  put(h, spec.flow.source.bytes());
  put(h, spec.flow.destination.bytes());
  return h;
}

Bytes fragment4(const Bytes& packet, std::size_t offset, std::size_t size, bool more) {
  Bytes f(packet.begin(), packet.begin() + header4);
  set16(f, 2, static_cast<std::uint16_t>(header4 + size));
  set16(f, 6, static_cast<std::uint16_t>((more ? 0x2000U : 0U) | offset / 8));
  set16(f, 10, 0);
  set16(f, 10, internet_checksum(f));
  put(f, std::span(packet).subspan(header4 + offset, size));
  return f;
}

Bytes fragment6(const Bytes& packet, std::size_t offset, std::size_t size, bool more) {
  Bytes f(packet.begin(), packet.begin() + header6);
  set16(f, 4, static_cast<std::uint16_t>(8 + size));
  const std::uint8_t next = std::exchange(f[6], 44);
  f.push_back(next);
  f.push_back(0);
  put16(f, offset | (more ? 1U : 0U));
  put32(f, 0x70660000U | get16(packet, header6 + 4));
  put(f, std::span(packet).subspan(header6 + offset, size));
  return f;
}

}  // namespace

std::uint16_t internet_checksum(std::span<const std::uint8_t> bytes, std::uint32_t start) {
  std::uint32_t sum = start;
  for (std::size_t i = 0; i + 1 < bytes.size(); i += 2) sum += get16(bytes, i);
  if (bytes.size() % 2 == 1) sum += static_cast<std::uint32_t>(bytes.back()) << 8U;
  while (sum > 0xffffU) sum = (sum & 0xffffU) + (sum >> 16U);
  return static_cast<std::uint16_t>(~sum & 0xffffU);
}

Bytes packet_of(const PacketSpec& spec) {
  const Bytes segment = segment_of(spec);
  Bytes packet = spec.flow.source.family() == net::Family::ipv4 ? ip4_header(spec, segment.size())
                                                                : ip6_header(spec, segment.size());
  put(packet, segment);
  return packet;
}

std::vector<Bytes> fragments_of(const Bytes& packet, std::size_t size) {
  const bool v4 = packet[0] >> 4U == 4;
  const std::size_t total = packet.size() - (v4 ? header4 : header6);
  std::vector<Bytes> fragments;
  for (std::size_t offset = 0; offset < total; offset += size) {
    const std::size_t part = std::min(size, total - offset);
    const bool more = offset + part < total;
    fragments.push_back(v4 ? fragment4(packet, offset, part, more) : fragment6(packet, offset, part, more));
  }
  return fragments;
}

std::optional<Received> parse_segment(net::Protocol protocol, std::span<const std::uint8_t> segment) {
  Received received;
  const auto needs = [&](std::size_t size) { return segment.size() >= size; };
  if (net::has_ports(protocol) && needs(4)) received.destination_port = net::Port{get16(segment, 2)};
  if (protocol == net::tcp && needs(20)) {
    constexpr std::uint8_t ack = 0x10;
    received.is_answer = (segment[13] & ack) != 0;
    received.id = received.is_answer ? get32(segment, 8) - 1 : get32(segment, 4);
    return received;
  }
  if (protocol == net::udp && needs(12)) {
    received.id = get32(segment, 8);
    return received;
  }
  if (protocol == net::sctp && needs(20)) {
    received.id = get32(segment, 16);
    return received;
  }
  const bool is_icmp = protocol == net::icmp || protocol == net::icmpv6;
  if (is_icmp && needs(8)) {
    const std::uint8_t request = protocol == net::icmp ? 8 : 128;
    const std::uint8_t reply = protocol == net::icmp ? 0 : 129;
    if (segment[0] != request && segment[0] != reply) return std::nullopt;
    received.is_answer = segment[0] == reply;
    received.id = static_cast<std::uint32_t>(get16(segment, 6)) << 16U | get16(segment, 4);
    return received;
  }
  if (!is_icmp && !net::has_ports(protocol) && needs(4)) {
    received.id = get32(segment, 0);
    return received;
  }
  return std::nullopt;
}

Bytes arp_request(const Arp& arp) {
  Bytes frame(6, 0xff);
  put(frame, arp.source_mac);
  put16(frame, 0x0806);
  put16(frame, 1);
  put16(frame, 0x0800);
  frame.push_back(6);
  frame.push_back(4);
  put16(frame, 1);
  put(frame, arp.source_mac);
  put(frame, arp.sender.bytes());
  put(frame, Bytes(6, 0));
  put(frame, arp.target.bytes());
  return frame;
}

}  // namespace podfence::test
