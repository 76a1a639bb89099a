#include "tests/enforcer/flow/packets.h"

#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <linux/netlink.h>

#include <cstring>

namespace podfence::flow::test {
namespace {

void put(Bytes& out, std::uint64_t value, std::size_t size) {
  for (std::size_t i = size; i-- > 0;) out.push_back(static_cast<std::byte>((value >> (8 * i)) & 0xffU));
}

Bytes number(std::uint64_t value, std::size_t size) {
  Bytes out;
  put(out, value, size);
  return out;
}

void put_address(Bytes& out, const std::string& text) {
  append(out, std::as_bytes(net::IpAddr::parse(text).value().bytes()));
}

}  // namespace

Bytes bytes(std::initializer_list<int> values) {
  Bytes out;
  for (const int value : values) out.push_back(static_cast<std::byte>(value));
  return out;
}

void append(Bytes& out, std::span<const std::byte> more) {
  out.insert(out.end(), more.begin(), more.end());
}

Bytes transport_header(const PacketParts& parts) {
  Bytes out;
  if (parts.protocol == 1 || parts.protocol == 58) return bytes({8, 3, 0, 0, 0, 0, 0, 0});
  put(out, parts.source_port, 2);
  put(out, parts.destination_port, 2);
  if (parts.protocol != 6) {
    put(out, 0, 4);
    return out;
  }
  put(out, 1, 4);
  put(out, 0, 4);
  out.push_back(std::byte{0x50});
  out.push_back(static_cast<std::byte>(parts.tcp_flags));
  put(out, 0, 6);
  return out;
}

Bytes ipv6_packet(const PacketParts& parts, int next_header, const Bytes& after_header) {
  Bytes out = bytes({0x60, 0, 0, 0});
  put(out, parts.total_length, 2);
  out.push_back(static_cast<std::byte>(next_header));
  out.push_back(std::byte{64});
  put_address(out, parts.source);
  put_address(out, parts.destination);
  append(out, after_header);
  return out;
}

Bytes ip_packet(const PacketParts& parts) {
  if (parts.source.find(':') != std::string::npos) return ipv6_packet(parts, parts.protocol, transport_header(parts));
  Bytes out = bytes({0x45, 0});
  put(out, parts.total_length, 2);
  put(out, 7, 2);
  put(out, parts.fragment_field, 2);
  out.push_back(std::byte{64});
  out.push_back(static_cast<std::byte>(parts.protocol));
  put(out, 0, 2);
  put_address(out, parts.source);
  put_address(out, parts.destination);
  append(out, transport_header(parts));
  return out;
}

void append_attribute(Bytes& out, std::uint16_t type, std::span<const std::byte> value) {
  nlattr header{};
  header.nla_len = static_cast<std::uint16_t>(sizeof(nlattr) + value.size());
  header.nla_type = type;
  append(out, std::as_bytes(std::span(&header, 1)));
  append(out, value);
  while (out.size() % 4 != 0) out.push_back(std::byte{0});
}

void set_length(Bytes& message) {
  const auto length = static_cast<std::uint32_t>(message.size());
  std::memcpy(message.data(), &length, sizeof(length));
}

Bytes nflog_message(const MessageParts& parts) {
  Bytes out;
  nlmsghdr header{};
  header.nlmsg_type = (NFNL_SUBSYS_ULOG << 8U) | NFULNL_MSG_PACKET;
  append(out, std::as_bytes(std::span(&header, 1)));
  append(out, bytes({2, 0, 0x0f, 0xb5}));
  append_attribute(out, NFULA_PACKET_HDR, bytes({0x08, 0x00, 2, 0}));
  std::string prefix = parts.prefix;
  prefix.push_back('\0');
  append_attribute(out, NFULA_PREFIX, std::as_bytes(std::span(prefix)));
  if (parts.in_interface != 0) append_attribute(out, NFULA_IFINDEX_INDEV, number(parts.in_interface, 4));
  if (parts.out_interface != 0) append_attribute(out, NFULA_IFINDEX_OUTDEV, number(parts.out_interface, 4));
  if (parts.seconds) {
    Bytes time = number(*parts.seconds, 8);
    append(time, number(parts.microseconds, 8));
    append_attribute(out, NFULA_TIMESTAMP, time);
  }
  if (parts.sequence) append_attribute(out, NFULA_SEQ, number(*parts.sequence, 4));
  append_attribute(out, NFULA_PAYLOAD, parts.payload);
  set_length(out);
  return out;
}

}  // namespace podfence::flow::test
