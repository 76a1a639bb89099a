#pragma once
// Port sets, each kept once: a node has tens of thousands of tuples, but few different sets of ports.
#include <cstdint>
#include <map>

#include "policy/model/port_set.h"

namespace podfence::compile {

/// Null is the empty set. Equal sets have equal pointers.
using PortSetRef = const model::PortSet*;

class PortPool {
 public:
  PortSetRef acquire(model::PortSet set) {
    if (set.empty()) return nullptr;
    const auto place = sets_.try_emplace(std::move(set), 0).first;
    ++place->second;
    return &place->first;
  }
  void release(PortSetRef set) {
    if (set == nullptr) return;
    const auto place = sets_.find(*set);
    if (--place->second == 0) sets_.erase(place);
  }
  std::size_t size() const { return sets_.size(); }

 private:
  std::map<model::PortSet, std::uint32_t> sets_;  // with the number of users
};

}  // namespace podfence::compile
