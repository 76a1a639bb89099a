#pragma once
// Which class an address carries, for both directions: one flat array, because there is an entry for every pod of the
// cluster that some peer matches. Open addressing, linear probing, at most 7/8 full.
#include <array>
#include <cstdint>
#include <vector>

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
  std::size_t size() const { return size_; }

  /// Calls f(address, slots) for every address with a class. The table must not change meanwhile.
  template <class F>
  void for_each(F&& f) const {
    for (const Entry& entry : entries_) {
      if (entry.used()) f(entry.ip, entry.slots);
    }
  }

 private:
  struct Entry {
    net::IpAddr ip;
    Slots slots{};
    bool used() const { return slots[0] != 0 || slots[1] != 0; }
  };

  std::size_t home_of(const net::IpAddr& ip) const { return net::IpAddrHash{}(ip) & (entries_.size() - 1); }
  std::size_t find(const net::IpAddr& ip) const;  // its entry, or the free one where it belongs
  void grow();
  void erase(std::size_t at);

  std::vector<Entry> entries_;  // a power of two of them, or none
  std::size_t size_ = 0;
};

}  // namespace podfence::compile
