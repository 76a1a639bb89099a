#include "enforcer/flow/decode.h"

#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <linux/netlink.h>

#include <algorithm>
#include <tuple>

#include "policy/base/cursor.h"

namespace podfence::flow {
namespace {

constexpr std::uint16_t packet_type = (NFNL_SUBSYS_ULOG << 8U) | NFULNL_MSG_PACKET;
constexpr int most_extension_headers = 8;

std::uint8_t as_u8(std::byte b) {
  return std::to_integer<std::uint8_t>(b);
}

std::string_view text_in(std::span<const std::byte> bytes) {
  const std::string_view all(static_cast<const char*>(static_cast<const void*>(bytes.data())), bytes.size());
  return all.substr(0, all.find('\0'));
}

std::optional<std::uint32_t> number_in(std::span<const std::byte> bytes) {
  return bytes.size() == 4 ? Cursor(bytes).take_be32() : std::nullopt;
}

/// Ports, flags or type and code of a first fragment or a whole packet.
void read_transport(Cursor cursor, LoggedPacket& packet) {
  if (packet.protocol == net::icmp || packet.protocol == net::icmpv6) {
    if (const auto head = cursor.take(2)) {
      packet.icmp_type = as_u8((*head)[0]);
      packet.icmp_code = as_u8((*head)[1]);
    }
    return;
  }
  if (!net::has_ports(packet.protocol)) return;
  const auto source = cursor.take_be16();
  const auto destination = cursor.take_be16();
  if (!source || !destination) return;
  packet.source_port = net::Port{*source};
  packet.destination_port = net::Port{*destination};
  if (packet.protocol != net::tcp) return;
  const auto rest = cursor.take(10);  // sequence, acknowledgement, offset, flags
  if (rest) packet.tcp_flags = as_u8((*rest)[9]);
}

void read_ipv4(Cursor cursor, LoggedPacket& packet) {
  const auto head = cursor.take(20);
  if (!head) return;
  const std::size_t length = static_cast<std::size_t>(as_u8((*head)[0]) & 0x0fU) * 4;
  Cursor fields(*head);
  std::ignore = fields.take(2);
  const auto total = fields.take_be16();
  std::ignore = fields.take(2);
  const auto fragment = fields.take_be16();
  std::ignore = fields.take(1);
  const auto protocol = fields.take(1);
  std::ignore = fields.take(2);
  const auto source = fields.take(4);
  const auto destination = fields.take(4);
  if (length < 20 || !total || !fragment || !protocol || !source || !destination) return;
  packet.source = *net::IpAddr::from_bytes(*source);
  packet.destination = *net::IpAddr::from_bytes(*destination);
  packet.has_ip = true;
  packet.bytes = *total;
  packet.protocol = net::Protocol{as_u8((*protocol)[0])};
  packet.fragment = (*fragment & 0x1fffU) != 0;
  if (!packet.fragment && cursor.take(length - 20)) read_transport(cursor, packet);
}

/// Skips extension headers up to the transport. False when they end early or the packet is a later fragment.
bool skip_extensions(Cursor& cursor, std::uint8_t next, LoggedPacket& packet) {
  packet.protocol = net::Protocol{next};
  for (int i = 0; i < most_extension_headers; ++i) {
    const bool fragment = next == 44;
    const bool authentication = next == 51;
    if (next != 0 && next != 43 && next != 60 && next != 135 && !fragment && !authentication) return true;
    const auto head = cursor.take(8);
    if (!head) return false;
    next = as_u8((*head)[0]);
    packet.protocol = net::Protocol{next};
    if (fragment) {
      Cursor fields(head->subspan(2));
      packet.fragment = (fields.take_be16().value_or(0) & 0xfff8U) != 0;
      if (packet.fragment) return false;
      continue;
    }
    const std::size_t length = as_u8((*head)[1]);
    // What is beyond these 8 bytes, in units of 8; of an authentication header, in units of 4.
    if (!cursor.take(authentication ? length * 4 : length * 8)) return false;
  }
  return false;
}

void read_ipv6(Cursor cursor, LoggedPacket& packet) {
  const auto head = cursor.take(40);
  if (!head) return;
  Cursor fields(*head);
  std::ignore = fields.take(4);
  const auto payload = fields.take_be16();
  const auto next = fields.take(1);
  std::ignore = fields.take(1);
  const auto source = fields.take(16);
  const auto destination = fields.take(16);
  if (!payload || !next || !source || !destination) return;
  packet.source = *net::IpAddr::from_bytes(*source);
  packet.destination = *net::IpAddr::from_bytes(*destination);
  packet.has_ip = true;
  packet.bytes = *payload + 40U;
  if (skip_extensions(cursor, as_u8((*next)[0]), packet)) read_transport(cursor, packet);
}

void read_payload(std::span<const std::byte> payload, LoggedPacket& packet) {
  if (payload.empty()) return;
  const unsigned version = as_u8(payload[0]) >> 4U;
  if (version == 4) read_ipv4(Cursor(payload), packet);
  if (version == 6) read_ipv6(Cursor(payload), packet);
}

/// Seconds and microseconds, eight bytes each in network order.
std::optional<std::chrono::system_clock::time_point> time_in(std::span<const std::byte> bytes) {
  Cursor cursor(bytes);
  const auto seconds_high = cursor.take_be32();
  const auto seconds = cursor.take_be32();
  const auto micros_high = cursor.take_be32();
  const auto micros = cursor.take_be32();
  // The high half of the seconds is in use from the year 2106 on; a larger value is no time.
  if (!seconds_high || !seconds || !micros_high || !micros) return std::nullopt;
  if (*seconds_high > 1 || *micros_high != 0 || *micros >= 1'000'000) return std::nullopt;
  const auto since_1970 = (static_cast<std::int64_t>(*seconds_high) << 32U) | *seconds;
  if (since_1970 == 0) return std::nullopt;
  return std::chrono::system_clock::time_point(std::chrono::seconds(since_1970) + std::chrono::microseconds(*micros));
}

void read_attribute(unsigned type, std::span<const std::byte> value, LoggedPacket& packet) {
  switch (type) {
    case NFULA_PACKET_HDR:
      if (value.size() >= 3) packet.hook = as_u8(value[2]);
      break;
    case NFULA_TIMESTAMP:
      packet.time = time_in(value);
      break;
    case NFULA_IFINDEX_INDEV:
      packet.in_interface = number_in(value).value_or(0);
      break;
    case NFULA_IFINDEX_OUTDEV:
      packet.out_interface = number_in(value).value_or(0);
      break;
    case NFULA_PREFIX:
      packet.prefix = parse_prefix(text_in(value));
      break;
    case NFULA_SEQ:
      packet.sequence = number_in(value);
      break;
    case NFULA_PAYLOAD:
      read_payload(value, packet);
      break;
    default:
      break;
  }
}

}  // namespace

Prefix parse_prefix(std::string_view text) {
  if (text == "pf1:spoof") return {Why::spoof, net::Direction::egress};
  Prefix prefix;
  constexpr std::string_view in = "pf1:in:";
  constexpr std::string_view out = "pf1:out:";
  if (text.substr(0, in.size()) == in) {
    prefix.direction = net::Direction::ingress;
    text.remove_prefix(in.size());
  } else if (text.substr(0, out.size()) == out) {
    prefix.direction = net::Direction::egress;
    text.remove_prefix(out.size());
  } else {
    return {};
  }
  if (text == "policy") {
    prefix.why = Why::policy;
  } else if (text == "reply") {
    prefix.why = Why::reply;
  } else if (text == "unknown") {
    prefix.why = Why::unknown;
  } else if (text == "allow") {
    prefix.why = Why::allowed;
  } else {
    return {};
  }
  return prefix;
}

Result<LoggedPacket> decode_nflog(std::span<const std::byte> message) {
  Cursor whole(message);
  const auto header = whole.take_as<nlmsghdr>();
  if (!header || header->nlmsg_len < sizeof(nlmsghdr) || header->nlmsg_len > message.size()) {
    return fail(Errc::invalid, "NFLOG message: its length is wrong");
  }
  if (header->nlmsg_type != packet_type) {
    return fail(Errc::invalid, "NFLOG message: type " + std::to_string(header->nlmsg_type) + " is no logged packet");
  }
  Cursor cursor(message.subspan(sizeof(nlmsghdr), header->nlmsg_len - sizeof(nlmsghdr)));
  if (!cursor.take(sizeof(nfgenmsg))) return fail(Errc::invalid, "NFLOG message: ends before its family");
  LoggedPacket packet;
  while (cursor.left() > 0) {
    const auto attribute = cursor.take_as<nlattr>();
    if (!attribute || attribute->nla_len < sizeof(nlattr)) {
      return fail(Errc::invalid, "NFLOG message: the length of an attribute is wrong");
    }
    const std::size_t size = attribute->nla_len - sizeof(nlattr);
    const auto value = cursor.take(size);
    if (!value) return fail(Errc::invalid, "NFLOG message: an attribute goes on beyond its end");
    std::ignore = cursor.take(std::min((4 - size % 4) % 4, cursor.left()));
    read_attribute(attribute->nla_type & NLA_TYPE_MASK, *value, packet);
  }
  return packet;
}

}  // namespace podfence::flow
