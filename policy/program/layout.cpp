#include "policy/program/layout.h"

namespace podfence::program {
namespace {

std::string_view word_of(Shape shape) {
  switch (shape) {
    case Shape::cidr_class:
      return "cidr";
    case Shape::peer_class:
      return "peer";
    case Shape::isolated:
      return "isolated";
    case Shape::class_port:
      return "port";
    case Shape::class_range:
      return "range";
    case Shape::class_protocol:
      return "protocol";
    case Shape::class_any:
      return "any";
    case Shape::all_port:
      return "all_port";
    case Shape::all_range:
      return "all_range";
    case Shape::all_protocol:
      return "all_protocol";
    case Shape::all_any:
      return "all_any";
    case Shape::policies:
      return "policies";
    case Shape::self:
      return "self";
    case Shape::managed:
      return "managed";
    case Shape::known:
      return "known";
  }
  return "?";
}

std::string make_name(SetId id) {
  std::string name;
  if (static_cast<std::size_t>(id.shape) < directed_shapes) {
    name = id.direction == net::Direction::ingress ? "in_" : "out_";
  }
  name += word_of(id.shape);
  name += id.family == net::Family::ipv4 ? '4' : '6';
  return name;
}

std::array<std::string, set_count> make_names() {
  std::array<std::string, set_count> names;
  for (std::size_t i = 0; i < set_count; ++i) names[i] = make_name(set_at(i));
  return names;
}

}  // namespace

std::string_view name_of(SetId id) {
  static const std::array<std::string, set_count> names = make_names();
  return names[index_of(id)];
}

std::string type_of(SetId id) {
  const std::string address = id.family == net::Family::ipv4 ? "ipv4_addr" : "ipv6_addr";
  std::string type = has_class_key(id.shape) ? "classid . " + address : address;
  if (id.shape == Shape::self) type += " . " + address;
  if (has_protocol(id.shape)) type += " . inet_proto";
  if (has_port(id.shape)) type += " . inet_service";
  if (is_map(id.shape)) type += " : classid";
  return type;
}

}  // namespace podfence::program
