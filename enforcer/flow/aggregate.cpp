#include "enforcer/flow/aggregate.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "enforcer/flow/detect.h"

namespace podfence::flow {
namespace {

using std::chrono::seconds;

void mix(std::size_t& hash, std::size_t value) {
  hash ^= value + 0x9e3779b97f4a7c15ULL + (hash << 6U) + (hash >> 2U);
}

/// The kernel stamps a packet when it comes in; a stamp far from now was not made by this clock.
TimePoint packet_time(const LoggedPacket& packet, TimePoint received) {
  if (!packet.time || *packet.time > received + seconds(1) || *packet.time < received - seconds(60)) return received;
  return *packet.time;
}

}  // namespace

std::size_t FlowKeyHash::operator()(const FlowKey& key) const noexcept {
  std::size_t hash = net::IpAddrHash{}(key.source);
  mix(hash, net::IpAddrHash{}(key.destination));
  mix(hash, static_cast<std::size_t>(key.protocol.number) << 16U | key.destination_port.number);
  mix(hash, static_cast<std::size_t>(key.prefix.why) << 1U | static_cast<std::size_t>(key.prefix.direction));
  mix(hash, static_cast<std::size_t>(key.any_port) << 1U | static_cast<std::size_t>(key.any_far));
  mix(hash, static_cast<std::size_t>(key.interface) ^ std::hash<std::uint64_t>{}(key.version));
  return hash;
}

FlowEntry entry_of(const LoggedPacket& packet, TimePoint received) {
  FlowEntry entry;
  FlowKey& key = entry.key;
  key.has_ip = packet.has_ip;
  key.source = packet.source;
  key.destination = packet.destination;
  key.protocol = packet.protocol;
  key.prefix = packet.prefix;
  auto source_port = packet.source_port;
  auto destination_port = packet.destination_port;
  const bool reply = packet.prefix.why == Why::reply;
  if (reply) {
    std::swap(key.source, key.destination);
    std::swap(source_port, destination_port);
  }
  // The pod that denied sent the packet when its egress is judged, and also when a reply of its ingress is.
  const bool local_sent_it = (packet.prefix.direction == net::Direction::egress) != reply;
  key.interface = local_sent_it ? packet.in_interface : packet.out_interface;
  key.destination_port = destination_port.value_or(net::Port{});
  entry.has_port = destination_port.has_value();
  entry.source_port = source_port;
  entry.first = entry.last = packet_time(packet, received);
  entry.count = 1;
  entry.bytes = packet.bytes;
  entry.tcp_flags = packet.tcp_flags;
  entry.icmp_type = packet.icmp_type;
  entry.icmp_code = packet.icmp_code;
  entry.keeps_end = is_metadata_address(key.destination);
  return entry;
}

Aggregator::Aggregator(AggregateLimits limits) : limits_(limits) {
  limits_.most_entries = std::max<std::size_t>(limits_.most_entries, 1);
}

Aggregator::Wider Aggregator::wider(const FlowKey& key) {
  Wider wide{key, key, key};
  for (FlowKey* any_port : {&wide.ports, &wide.all}) {
    any_port->destination_port = {};
    any_port->any_port = true;
  }
  for (FlowKey* any_far : {&wide.ends, &wide.all}) {
    (far_is_source(key) ? any_far->source : any_far->destination) = {};
    any_far->any_far = true;
  }
  if (key.prefix.why == Why::spoof) wide.all.destination = {};  // its interface tells who it was
  return wide;
}

/// Whether more flows go into the entry for many: there are enough of their own, or it has become one that is needed.
bool Aggregator::full(const FlowKey& wide, std::size_t most) const {
  if (const auto group = groups_.find(wide); group != groups_.end() && group->second >= most) return true;
  const auto found = index_.find(wide);
  return found != index_.end() &&
         (found->second->busy || std::max(found->second->ports.size(), found->second->ends.size()) >= most);
}

FlowKey Aggregator::place_of(const FlowEntry& packet) const {
  if (index_.count(packet.key) != 0) return packet.key;
  const Wider wide = wider(packet.key);
  const bool pod_is_full = full(wide.all, limits_.most_of_pod);
  const auto fits = [&](const FlowKey& key) {
    return full(key, limits_.scan_after) && (!pod_is_full || index_.count(key) != 0);
  };
  if (packet.has_port && fits(wide.ports)) return wide.ports;
  // Many clients of one pod are many culprits, or many mistakes; many destinations of one pod are one.
  if (local_is_source(packet.key) && !packet.keeps_end && fits(wide.ends)) return wide.ends;
  return pod_is_full && !packet.keeps_end ? wide.all : packet.key;
}

/// An entry counts in every wider one, and one for many only in the widest.
void Aggregator::count_groups(const FlowEntry& entry, bool comes) {
  const FlowKey& key = entry.key;
  const auto change = [&](const FlowKey& wide) {
    if (wide == key) return;
    if (comes) {
      ++groups_[wide];
    } else if (const auto found = groups_.find(wide); found != groups_.end() && --found->second == 0) {
      groups_.erase(found);
    }
  };
  const Wider wide = wider(key);
  if (!key.any_port && !key.any_far) {
    change(wide.ports);
    change(wide.ends);
  }
  change(wide.all);
}

void Aggregator::merge(Slot& slot, const FlowEntry& packet) const {
  FlowEntry& entry = slot.entry;
  const FlowKey key = entry.key;
  if (entry.count == 0) {
    entry = packet;
    entry.key = key;
    if (key.any_port || key.any_far) entry.scan = Scan{};
    if (key.any_port) entry.has_port = false;
  } else {
    entry.first = std::min(entry.first, packet.first);
    entry.last = std::max(entry.last, packet.last);
    entry.count += packet.count;
    entry.bytes += packet.bytes;
  }
  if (!entry.scan) return;
  const auto note = [&](std::unordered_set<std::uint64_t>& seen, std::uint64_t value) {
    if (seen.size() < limits_.most_distinct) return seen.insert(value).second;
    entry.scan->at_least = entry.scan->at_least || seen.count(value) == 0;
    return false;
  };
  if (key.any_port && packet.has_port && note(slot.ports, packet.key.destination_port.number) &&
      entry.scan->port_examples.size() < Scan::most_examples) {
    entry.scan->port_examples.push_back(packet.key.destination_port);
  }
  const net::IpAddr& far = local_is_source(key) ? packet.key.destination : packet.key.source;
  if (key.any_far && note(slot.ends, net::IpAddrHash{}(far)) && entry.scan->end_examples.size() < Scan::most_examples) {
    entry.scan->end_examples.push_back(far);
  }
}

std::optional<FlowEntry> Aggregator::add(const FlowEntry& packet, TimePoint now) {
  const FlowKey key = place_of(packet);
  if (const auto found = index_.find(key); found != index_.end()) {
    merge(*found->second, packet);
    return std::nullopt;
  }
  std::optional<FlowEntry> oldest;
  if (index_.size() >= limits_.most_entries) oldest = take_oldest();
  Slots& slots = slots_.front();
  slots.push_back({.entry = {}, .opened = now});
  slots.back().entry.key = key;
  merge(slots.back(), packet);
  index_.emplace(key, std::prev(slots.end()));
  count_groups(slots.back().entry, true);
  return oldest;
}

FlowEntry Aggregator::given_out(Slot& slot) const {
  FlowEntry entry = slot.entry;
  if (entry.scan) {
    entry.scan->ports = slot.ports.size();
    entry.scan->ends = slot.ends.size();
  }
  return entry;
}

void Aggregator::remove(Slots& slots, Slots::iterator slot) {
  count_groups(slot->entry, false);
  index_.erase(slot->entry.key);
  slots.erase(slot);
}

/// What only waits goes first, from the longest wait.
std::optional<FlowEntry> Aggregator::take_oldest() {
  for (std::size_t level = levels; level-- > 0;) {
    if (slots_.at(level).empty()) continue;
    const auto slot = slots_.at(level).begin();
    std::optional<FlowEntry> entry;
    if (slot->entry.count > 0) entry = given_out(*slot);
    remove(slots_.at(level), slot);
    return entry;
  }
  return std::nullopt;
}

/// What was given out stays as a place for what goes on, once as long; empty then, it goes.
std::vector<FlowEntry> Aggregator::take_due(TimePoint now) {
  std::vector<FlowEntry> due;
  for (std::size_t level = levels; level-- > 0;) {
    Slots& slots = slots_.at(level);
    // A clock that was set back must not keep an entry for long.
    const auto over = [&](TimePoint opened) { return opened + window(level) <= now || opened > now + window(level); };
    while (!slots.empty() && over(slots.front().opened)) {
      Slot& slot = slots.front();
      if (slot.entry.count == 0) {
        remove(slots, slots.begin());
        continue;
      }
      due.push_back(given_out(slot));
      slot.busy = slot.entry.scan && std::max(slot.ports.size(), slot.ends.size()) >= limits_.scan_after;
      slot.ports.clear();
      slot.ends.clear();
      slot.entry.count = 0;
      slot.opened = now;
      slot.level = std::min(level + 1, levels - 1);
      Slots& next = slots_.at(slot.level);
      next.splice(next.end(), slots, slots.begin());
    }
  }
  return due;
}

std::vector<FlowEntry> Aggregator::take_all() {
  std::vector<FlowEntry> all;
  while (!index_.empty()) {
    if (auto entry = take_oldest()) all.push_back(std::move(*entry));
  }
  return all;
}

}  // namespace podfence::flow
