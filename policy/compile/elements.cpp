#include "policy/compile/elements.h"

#include <algorithm>

namespace podfence::compile {

using program::Element;
using program::Shape;

void append_elements(std::vector<Placed>& out, net::Direction direction, const net::IpAddr& local,
                     program::ClassId class_id, const model::PortSet& ports, std::uint32_t split_ports) {
  const bool all = class_id == program::no_class;
  const auto put = [&](Shape shape, net::Protocol protocol, net::PortRange range) {
    Element element;
    element.address = local;
    element.class_id = class_id;
    element.protocol = protocol;
    element.ports = range;
    out.push_back({{shape, direction, local.family()}, element});
  };
  if (ports.any) put(all ? Shape::all_any : Shape::class_any, {}, {});
  for (const net::Protocol protocol : ports.protocols) {
    put(all ? Shape::all_protocol : Shape::class_protocol, protocol, {});
  }
  for (const model::ProtocolPorts& range : ports.ranges) {
    const std::uint32_t first = range.ports.first.number;
    const std::uint32_t last = range.ports.last.number;
    if (last - first + 1 > std::max<std::uint32_t>(split_ports, 1)) {
      put(all ? Shape::all_range : Shape::class_range, range.protocol, range.ports);
      continue;
    }
    for (std::uint32_t number = first; number <= last; ++number) {
      const net::Port port{static_cast<std::uint16_t>(number)};
      put(all ? Shape::all_port : Shape::class_port, range.protocol, {port, port});
    }
  }
}

Element address_element(const net::IpAddr& ip) {
  Element element;
  element.address = ip;
  return element;
}

Element peer_element(const net::IpAddr& ip, program::ClassId class_id) {
  Element element = address_element(ip);
  element.class_id = class_id;
  return element;
}

Element range_element(const net::IpRange& range, program::ClassId class_id) {
  Element element = peer_element(range.first, class_id);
  element.address_last = range.last;
  return element;
}

void sort_unique(std::vector<Element>& elements) {
  std::sort(elements.begin(), elements.end());
  elements.erase(std::unique(elements.begin(), elements.end()), elements.end());
}

}  // namespace podfence::compile
