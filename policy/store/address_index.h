#pragma once
// Which objects have an address. It holds where the objects are, and a part of the hash of the address: the addresses
// themselves stay in the objects. An object must be dropped before it moves or goes.
#include <algorithm>
#include <cstdint>
#include <vector>

#include "policy/base/flat_table.h"
#include "policy/net/ip.h"

namespace podfence::store {

template <class Object, std::vector<net::IpAddr> Object::*addresses>
class AddressIndex {
 public:
  /// All addresses of the object as they are now.
  void add(const Object& object) {
    for (const net::IpAddr& ip : object.*addresses) entries_.insert({&object, tag_of(ip)});
  }
  /// The object still has the addresses with which it was added.
  void drop(const Object& object) {
    for (const net::IpAddr& ip : object.*addresses) {
      const Entry wanted{&object, tag_of(ip)};
      if (const Entry* entry = entries_.find(wanted.tag, [&](const Entry& e) { return e == wanted; })) {
        entries_.erase(entry);
      }
    }
  }

  /// The object that comes first by before(a, b) of those that have the address, or null.
  template <class Before>
  const Object* first_with(const net::IpAddr& ip, Before&& before) const {
    const Object* first = nullptr;
    const std::uint32_t tag = tag_of(ip);
    entries_.for_each_near(tag, [&](const Entry& entry) {
      if (entry.tag != tag) return;
      const auto& ips = entry.object->*addresses;
      const bool has_it = std::find(ips.begin(), ips.end(), ip) != ips.end();
      if (has_it && (first == nullptr || before(*entry.object, *first))) first = entry.object;
    });
    return first;
  }

 private:
  struct Entry {
    const Object* object = nullptr;
    std::uint32_t tag = 0;
    bool used() const { return object != nullptr; }
    std::size_t hash() const { return tag; }
    friend bool operator==(const Entry&, const Entry&) = default;
  };
  static std::uint32_t tag_of(const net::IpAddr& ip) { return static_cast<std::uint32_t>(net::IpAddrHash{}(ip)); }

  FlatTable<Entry> entries_;
};

}  // namespace podfence::store
