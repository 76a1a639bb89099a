#pragma once
// Which class an address carries, for both directions: one flat array, because there is an entry for every pod of the
// cluster that some peer matches.
#include <array>
#include <cstdint>

#include "policy/base/flat_table.h"
#include "policy/net/flow.h"

namespace podfence::compile {

/// A class by its place in the ClassTable. 0 = carries none of its own.
using SlotId = std::uint32_t;

/// Place of a direction in arrays that hold one thing for each.
constexpr std::size_t index_of(net::Direction direction) {
  return direction == net::Direction::ingress ? 0 : 1;
}

class AddressTable {
 public:
  using Slots = std::array<SlotId, 2>;  // by direction

  SlotId get(const net::IpAddr& ip, net::Direction direction) const;
  void set(const net::IpAddr& ip, net::Direction direction, SlotId slot);
  std::size_t size() const { return entries_.size(); }

  /// Calls f(address, slots) for every address with a class. The table must not change meanwhile.
  template <class F>
  void for_each(F&& f) const {
    entries_.for_each([&](const Entry& entry) { f(entry.ip, entry.slots); });
  }

 private:
  struct Entry {
    net::IpAddr ip;
    Slots slots{};
    bool used() const { return slots[0] != 0 || slots[1] != 0; }
    std::size_t hash() const { return net::IpAddrHash{}(ip); }
  };

  FlatTable<Entry> entries_;
};

}  // namespace podfence::compile
