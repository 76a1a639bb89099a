#include "policy/model/port_set.h"

#include <algorithm>
#include <utility>

namespace podfence::model {

void PortSetBuilder::add(net::Protocol protocol, net::PortRange ports) {
  ports.first = std::max(ports.first, net::Port{1});
  if (ports.first <= ports.last) ranges_.push_back({protocol, ports});
}

void PortSetBuilder::add(const PortSet& set) {
  any_ = any_ || set.any;
  for (const net::Protocol protocol : set.protocols) add_protocol(protocol);
  ranges_.insert(ranges_.end(), set.ranges.begin(), set.ranges.end());
}

PortSet PortSetBuilder::finish() {
  PortSet set;
  set.any = any_;
  if (!any_) {
    for (unsigned number = 0; whole_.any() && number < whole_.size(); ++number) {
      if (whole_.test(number)) set.protocols.push_back({static_cast<std::uint8_t>(number)});
    }
    std::sort(ranges_.begin(), ranges_.end());
    for (const ProtocolPorts& next : ranges_) {
      if (whole_.test(next.protocol.number)) continue;
      if (!set.ranges.empty() && set.ranges.back().protocol == next.protocol) {
        net::PortRange& last = set.ranges.back().ports;
        if (next.ports.first.number <= last.last.number + 1) {
          last.last = std::max(last.last, next.ports.last);
          continue;
        }
      }
      set.ranges.push_back(next);
    }
  }
  any_ = false;
  whole_.reset();
  ranges_.clear();
  return set;
}

}  // namespace podfence::model
