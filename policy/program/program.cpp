#include "policy/program/program.h"

#include <algorithm>
#include <charconv>

namespace podfence::program {
namespace {

/// A class as a traffic control handle, MAJOR:MINOR in hexadecimal; nft has words for two of them.
std::string handle_text(ClassId id) {
  if (id == 0) return "none";
  if (id == 0xffffffffU) return "root";
  std::array<char, 16> buffer{};
  char* end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), id >> 16U, 16).ptr;
  *end++ = ':';
  end = std::to_chars(end, buffer.data() + buffer.size(), id & 0xffffU, 16).ptr;
  return {buffer.data(), end};
}

/// As /etc/protocols calls it. nft asks the C library, so only names that every such file has are used here.
std::string protocol_text(net::Protocol protocol) {
  if (protocol == net::tcp) return "tcp";
  if (protocol == net::udp) return "udp";
  if (protocol == net::sctp) return "sctp";
  if (protocol == net::icmp) return "icmp";
  if (protocol == net::icmpv6) return "ipv6-icmp";
  return std::to_string(protocol.number);
}

/// A block where the range is one, else FIRST-LAST.
std::string range_text(const net::IpAddr& first, const net::IpAddr& last) {
  if (first == last) return first.text();
  const auto bits = static_cast<std::uint8_t>(net::address_size(first.family()) * 8);
  for (std::uint8_t length = 0; length < bits; ++length) {
    const net::IpRange block = net::Cidr::around(first, length).range();
    if (block.first == first && block.last == last) return net::Cidr::around(first, length).text();
  }
  return first.text() + "-" + last.text();
}

}  // namespace

bool same_key(SetId set, const Element& a, const Element& b) {
  if (is_map(set.shape)) {
    return a.address == b.address && a.address_last == b.address_last && a.protocol == b.protocol && a.ports == b.ports;
  }
  return a == b;
}

std::string text_of(SetId set, const Element& element) {
  std::string text;
  if (has_class_key(set.shape)) text = handle_text(element.class_id) + " . ";
  const bool address_range = set.shape == Shape::cidr_class || set.shape == Shape::managed;
  text += address_range ? range_text(element.address, element.address_last) : element.address.text();
  if (set.shape == Shape::self) text += " . " + element.address.text();
  if (has_protocol(set.shape)) text += " . " + protocol_text(element.protocol);
  if (has_port(set.shape)) {
    text += " . " + std::to_string(element.ports.first.number);
    if (element.ports.first != element.ports.last) text += "-" + std::to_string(element.ports.last.number);
  }
  if (is_map(set.shape)) text += " : " + handle_text(element.class_id);
  return text;
}

bool holds(const Program& program, SetId set, const Element& element) {
  const auto& elements = program.at(set);
  const bool address_range = set.shape == Shape::cidr_class || set.shape == Shape::managed;
  return std::any_of(elements.begin(), elements.end(), [&](const Element& e) {
    if (address_range) return e.address <= element.address && element.address <= e.address_last;
    return same_key(set, e, element);
  });
}

std::size_t Program::element_count() const {
  std::size_t count = 0;
  for (const auto& elements : sets) count += elements.size();
  return count;
}

}  // namespace podfence::program
