#include "policy/compile/address_table.h"

namespace podfence::compile {
namespace {

template <class Table>
auto* entry_of(Table& entries, const net::IpAddr& ip) {
  return entries.find(net::IpAddrHash{}(ip), [&](const auto& entry) { return entry.ip == ip; });
}

}  // namespace

SlotId AddressTable::get(const net::IpAddr& ip, net::Direction direction) const {
  const Entry* entry = entry_of(entries_, ip);
  return entry != nullptr ? entry->slots[index_of(direction)] : 0;
}

void AddressTable::set(const net::IpAddr& ip, net::Direction direction, SlotId slot) {
  Entry* entry = entry_of(entries_, ip);
  if (entry == nullptr) {
    if (slot == 0) return;
    Entry made{ip, {}};
    made.slots[index_of(direction)] = slot;
    entries_.insert(made);
    return;
  }
  Slots slots = entry->slots;
  slots[index_of(direction)] = slot;
  if (Entry{ip, slots}.used()) {
    entry->slots = slots;
  } else {
    entries_.erase(entry);
  }
}

}  // namespace podfence::compile
