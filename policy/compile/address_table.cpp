#include "policy/compile/address_table.h"

#include <utility>

namespace podfence::compile {

std::size_t AddressTable::find(const net::IpAddr& ip) const {
  std::size_t at = home_of(ip);
  while (entries_[at].used() && entries_[at].ip != ip) at = (at + 1) & (entries_.size() - 1);
  return at;
}

SlotId AddressTable::get(const net::IpAddr& ip, net::Direction direction) const {
  if (entries_.empty()) return 0;
  const Entry& entry = entries_[find(ip)];
  return entry.used() ? entry.slots[index_of(direction)] : 0;
}

void AddressTable::set(const net::IpAddr& ip, net::Direction direction, SlotId slot) {
  if (entries_.empty() || (size_ + 1) * 8 > entries_.size() * 7) grow();
  const std::size_t at = find(ip);
  Entry& entry = entries_[at];
  const bool was_used = entry.used();
  if (!was_used) {
    if (slot == 0) return;
    entry.ip = ip;
  }
  entry.slots[index_of(direction)] = slot;
  if (!was_used) {
    ++size_;
  } else if (!entry.used()) {
    erase(at);
  }
}

void AddressTable::grow() {
  std::vector<Entry> old = std::exchange(entries_, {});
  entries_.resize(old.empty() ? 64 : old.size() * 2);
  for (const Entry& entry : old) {
    if (entry.used()) entries_[find(entry.ip)] = entry;
  }
}

/// The entry is free already; those after it move up, so that no probe meets a hole before its goal.
void AddressTable::erase(std::size_t at) {
  const std::size_t mask = entries_.size() - 1;
  --size_;
  std::size_t hole = at;
  for (std::size_t next = (at + 1) & mask; entries_[next].used(); next = (next + 1) & mask) {
    const std::size_t home = home_of(entries_[next].ip);
    if (((next - home) & mask) < ((next - hole) & mask)) continue;  // it lies between its home and the hole: stays
    entries_[hole] = entries_[next];
    entries_[next].slots = {};
    hole = next;
  }
}

}  // namespace podfence::compile
