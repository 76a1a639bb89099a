#pragma once
// From port sets to set elements: the one place that knows which shape of set holds what.
#include <vector>

#include "policy/model/port_set.h"
#include "policy/program/program.h"

namespace podfence::compile {

struct Placed {
  program::SetId set;
  program::Element element;
};

/// Appends what admits `ports` at a local address: for remote addresses of `class_id`, or for every one with no_class.
/// A range of at most `split_ports` ports becomes single ports.
void append_elements(std::vector<Placed>& out, net::Direction direction, const net::IpAddr& local,
                     program::ClassId class_id, const model::PortSet& ports, std::uint32_t split_ports);

/// An element that is nothing but an address: isolated, self, known.
program::Element address_element(const net::IpAddr& ip);
/// An element of peer_class or policies.
program::Element peer_element(const net::IpAddr& ip, program::ClassId class_id);
/// An element of cidr_class; of managed with no_class.
program::Element range_element(const net::IpRange& range, program::ClassId class_id);

/// Sorted, with no element twice.
void sort_unique(std::vector<program::Element>& elements);

}  // namespace podfence::compile
