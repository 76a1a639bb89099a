#include "enforcer/flow/aggregate.h"

#include <algorithm>
#include <functional>
#include <utility>

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
  return entry;
}

Aggregator::Aggregator(std::size_t most_entries, TimePoint::duration window)
    : most_entries_(std::max<std::size_t>(most_entries, 1)), window_(window) {}

std::optional<FlowEntry> Aggregator::add(const FlowEntry& packet, TimePoint now) {
  if (const auto found = index_.find(packet.key); found != index_.end()) {
    FlowEntry& entry = found->second->entry;
    entry.first = std::min(entry.first, packet.first);
    entry.last = std::max(entry.last, packet.last);
    entry.count += packet.count;
    entry.bytes += packet.bytes;
    return std::nullopt;
  }
  std::optional<FlowEntry> oldest;
  if (index_.size() >= most_entries_) oldest = take_oldest();
  slots_.push_back({packet, now});
  index_.emplace(packet.key, std::prev(slots_.end()));
  return oldest;
}

FlowEntry Aggregator::take_oldest() {
  FlowEntry entry = slots_.front().entry;
  index_.erase(entry.key);
  slots_.pop_front();
  return entry;
}

std::vector<FlowEntry> Aggregator::take_due(TimePoint now) {
  std::vector<FlowEntry> due;
  // A clock that was set back must not keep an entry for long.
  const auto over = [&](TimePoint opened) { return opened + window_ <= now || opened > now + window_; };
  while (!slots_.empty() && over(slots_.front().opened)) due.push_back(take_oldest());
  return due;
}

std::vector<FlowEntry> Aggregator::take_all() {
  std::vector<FlowEntry> all;
  while (!slots_.empty()) all.push_back(take_oldest());
  return all;
}

}  // namespace podfence::flow
