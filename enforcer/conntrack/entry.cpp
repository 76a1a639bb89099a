#include "enforcer/conntrack/entry.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace podfence::conntrack {
namespace {

constexpr std::uint16_t message_type(unsigned type) {
  return static_cast<std::uint16_t>((static_cast<unsigned>(NFNL_SUBSYS_CTNETLINK) << 8U) | type);
}

std::span<const std::byte> payload(const nlattr* attribute) {
  return {static_cast<const std::byte*>(mnl_attr_get_payload(attribute)), mnl_attr_get_payload_len(attribute)};
}

std::optional<std::uint16_t> be16(const nlattr* attribute) {
  if (mnl_attr_get_payload_len(attribute) != sizeof(std::uint16_t)) return std::nullopt;
  return ntohs(mnl_attr_get_u16(attribute));
}

/// mnl_attr_for_each_nested() with its casts kept out of the way: stops at the first attribute that does not fit.
template <class Each>
void for_each(const void* first, std::size_t size, Each each) {
  const auto* at = static_cast<const nlattr*>(first);
  auto left = static_cast<int>(size);
  while (mnl_attr_ok(at, left)) {
    each(at);
    left -= MNL_ALIGN(at->nla_len);
    at = mnl_attr_next(at);
  }
}

template <class Each>
void for_each_nested(const nlattr* nest, Each each) {
  for_each(mnl_attr_get_payload(nest), mnl_attr_get_payload_len(nest), each);
}

void read_addresses(const nlattr* nest, std::optional<net::IpAddr>& source, std::optional<net::IpAddr>& destination) {
  for_each_nested(nest, [&](const nlattr* a) {
    switch (mnl_attr_get_type(a)) {
      case CTA_IP_V4_SRC:
      case CTA_IP_V6_SRC:
        source = net::IpAddr::from_bytes(payload(a));
        break;
      case CTA_IP_V4_DST:
      case CTA_IP_V6_DST:
        destination = net::IpAddr::from_bytes(payload(a));
        break;
      default:
        break;
    }
  });
}

std::uint8_t byte_of(const nlattr* attribute) {
  return mnl_attr_get_payload_len(attribute) == 1 ? mnl_attr_get_u8(attribute) : std::uint8_t{0};
}

void read_protocol(const nlattr* nest, Tuple& tuple) {
  for_each_nested(nest, [&](const nlattr* a) {
    switch (mnl_attr_get_type(a)) {
      case CTA_PROTO_NUM:
        tuple.protocol = {byte_of(a)};
        break;
      case CTA_PROTO_SRC_PORT:
        tuple.source_port = {be16(a).value_or(0)};
        break;
      case CTA_PROTO_DST_PORT:
        tuple.destination_port = {be16(a).value_or(0)};
        break;
      case CTA_PROTO_ICMP_ID:
      case CTA_PROTO_ICMPV6_ID:
        tuple.icmp_id = be16(a).value_or(0);
        break;
      case CTA_PROTO_ICMP_TYPE:
      case CTA_PROTO_ICMPV6_TYPE:
        tuple.icmp_type = byte_of(a);
        break;
      case CTA_PROTO_ICMP_CODE:
      case CTA_PROTO_ICMPV6_CODE:
        tuple.icmp_code = byte_of(a);
        break;
      default:
        break;
    }
  });
}

std::optional<Tuple> read_tuple(const nlattr* nest) {
  Tuple tuple;
  std::optional<net::IpAddr> source;
  std::optional<net::IpAddr> destination;
  for_each_nested(nest, [&](const nlattr* a) {
    if (mnl_attr_get_type(a) == CTA_TUPLE_IP) read_addresses(a, source, destination);
    if (mnl_attr_get_type(a) == CTA_TUPLE_PROTO) read_protocol(a, tuple);
  });
  if (!source || !destination || source->family() != destination->family()) return std::nullopt;
  tuple.source = *source;
  tuple.destination = *destination;
  return tuple;
}

nlmsghdr* start_message(void* buffer, unsigned type, std::uint16_t flags, std::uint8_t family) {
  nlmsghdr* message = mnl_nlmsg_put_header(buffer);
  message->nlmsg_type = message_type(type);
  message->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
  auto* extra = static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(message, sizeof(nfgenmsg)));
  extra->nfgen_family = family;
  extra->version = NFNETLINK_V0;
  extra->res_id = 0;
  return message;
}

void put_tuple(nlmsghdr* message, const Tuple& tuple) {
  const bool v4 = tuple.source.family() == net::Family::ipv4;
  nlattr* nest = mnl_attr_nest_start(message, CTA_TUPLE_ORIG);
  nlattr* ip = mnl_attr_nest_start(message, CTA_TUPLE_IP);
  mnl_attr_put(message, v4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, tuple.source.bytes().size(), tuple.source.bytes().data());
  mnl_attr_put(message, v4 ? CTA_IP_V4_DST : CTA_IP_V6_DST, tuple.destination.bytes().size(),
               tuple.destination.bytes().data());
  mnl_attr_nest_end(message, ip);
  nlattr* protocol = mnl_attr_nest_start(message, CTA_TUPLE_PROTO);
  mnl_attr_put_u8(message, CTA_PROTO_NUM, tuple.protocol.number);
  if (tuple.protocol == net::icmp || tuple.protocol == net::icmpv6) {
    mnl_attr_put_u16(message, v4 ? CTA_PROTO_ICMP_ID : CTA_PROTO_ICMPV6_ID, htons(tuple.icmp_id));
    mnl_attr_put_u8(message, v4 ? CTA_PROTO_ICMP_TYPE : CTA_PROTO_ICMPV6_TYPE, tuple.icmp_type);
    mnl_attr_put_u8(message, v4 ? CTA_PROTO_ICMP_CODE : CTA_PROTO_ICMPV6_CODE, tuple.icmp_code);
  } else {
    mnl_attr_put_u16(message, CTA_PROTO_SRC_PORT, htons(tuple.source_port.number));
    mnl_attr_put_u16(message, CTA_PROTO_DST_PORT, htons(tuple.destination_port.number));
  }
  mnl_attr_nest_end(message, protocol);
  mnl_attr_nest_end(message, nest);
}

}  // namespace

std::optional<Entry> parse_entry(const nlmsghdr* message) {
  if (message->nlmsg_type != message_type(IPCTNL_MSG_CT_NEW)) return std::nullopt;
  if (mnl_nlmsg_get_payload_len(message) < sizeof(nfgenmsg)) return std::nullopt;
  Entry entry;
  std::optional<Tuple> original;
  std::optional<Tuple> reply;
  const auto* attributes = static_cast<const std::byte*>(mnl_nlmsg_get_payload_offset(message, sizeof(nfgenmsg)));
  for_each(attributes, mnl_nlmsg_get_payload_len(message) - MNL_ALIGN(sizeof(nfgenmsg)), [&](const nlattr* a) {
    switch (mnl_attr_get_type(a)) {
      case CTA_TUPLE_ORIG:
        original = read_tuple(a);
        break;
      case CTA_TUPLE_REPLY:
        reply = read_tuple(a);
        break;
      case CTA_ZONE:
        entry.zone = be16(a).value_or(0);
        break;
      case CTA_LABELS: {
        const auto bytes = payload(a);
        std::memcpy(entry.labels.data(), bytes.data(), std::min(bytes.size(), entry.labels.size()));
        break;
      }
      default:
        break;
    }
  });
  if (!original || !reply) return std::nullopt;
  entry.original = *original;
  entry.reply = *reply;
  return entry;
}

Result<> walk(netlink::Socket& socket, const std::function<void(const Entry&)>& each) {
  constexpr int most_attempts = 5;
  for (int attempt = 1;; ++attempt) {
    alignas(nlmsghdr) std::array<char, 256> buffer{};
    nlmsghdr* message = start_message(buffer.data(), IPCTNL_MSG_CT_GET, NLM_F_DUMP, AF_UNSPEC);
    auto done = socket.dump(message, [&](const nlmsghdr* answer) {
      if (const auto entry = parse_entry(answer)) each(*entry);
    });
    if (done || done.error().code() != Errc::busy || attempt == most_attempts) return done;
  }
}

Result<bool> clear_label(netlink::Socket& socket, const Entry& entry, std::uint8_t bit) {
  alignas(nlmsghdr) std::array<char, 512> buffer{};
  const auto family =
      static_cast<std::uint8_t>(entry.original.source.family() == net::Family::ipv4 ? AF_INET : AF_INET6);
  nlmsghdr* message = start_message(buffer.data(), IPCTNL_MSG_CT_NEW, 0, family);
  put_tuple(message, entry.original);
  if (entry.zone != 0) mnl_attr_put_u16(message, CTA_ZONE, htons(entry.zone));
  const std::array<std::uint8_t, 16> labels{};
  std::array<std::uint8_t, 16> mask{};
  mask[bit / 8] = static_cast<std::uint8_t>(1U << (bit % 8));
  mnl_attr_put(message, CTA_LABELS, labels.size(), labels.data());
  mnl_attr_put(message, CTA_LABELS_MASK, mask.size(), mask.data());
  const auto ack = socket.request(message);
  if (!ack) return fail(ack.error());
  if (ack->error == ENOENT) return false;
  if (ack->error != 0) return fail(netlink::errc_of(ack->error), "conntrack label: " + netlink::describe(*ack));
  return true;
}

}  // namespace podfence::conntrack
