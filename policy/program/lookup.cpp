#include "policy/program/lookup.h"

#include <algorithm>

namespace podfence::program {
namespace {

/// The last element that starts at or before the address.
const Element* last_from(const std::vector<Element>& elements, const net::IpAddr& ip) {
  const auto after = std::upper_bound(elements.begin(), elements.end(), ip,
                                      [](const net::IpAddr& a, const Element& e) { return a < e.address; });
  return after == elements.begin() ? nullptr : &*std::prev(after);
}

const Element* find_address(const std::vector<Element>& elements, SetId set, const net::IpAddr& ip) {
  const Element* e = last_from(elements, ip);
  if (e == nullptr) return nullptr;
  const bool inside = is_interval(set.shape) ? ip <= e->address_last : ip == e->address;
  return inside && e->address.family() == ip.family() ? e : nullptr;
}

}  // namespace

bool has_address(const Program& program, SetId set, const net::IpAddr& ip) {
  return find_address(program.at(set), set, ip) != nullptr;
}

std::optional<ClassId> class_of(const Program& program, SetId set, const net::IpAddr& ip) {
  const Element* e = find_address(program.at(set), set, ip);
  return e == nullptr ? std::nullopt : std::optional(e->class_id);
}

bool has_tuple(const Program& program, SetId set, ClassId class_id, const net::IpAddr& local, net::Protocol protocol,
               net::Port port) {
  Element key;
  key.address = local;
  if (has_class_key(set.shape)) key.class_id = class_id;
  if (has_protocol(set.shape)) key.protocol = protocol;
  if (has_port(set.shape)) key.ports = {port, port};
  const std::vector<Element>& elements = program.at(set);
  if (!is_interval(set.shape)) return std::binary_search(elements.begin(), elements.end(), key);

  key.ports.last = net::Port{0xffff};
  const auto after = std::upper_bound(elements.begin(), elements.end(), key);
  if (after == elements.begin()) return false;
  const Element& e = *std::prev(after);
  return e.address == key.address && e.class_id == key.class_id && e.protocol == key.protocol && e.ports.contains(port);
}

}  // namespace podfence::program
