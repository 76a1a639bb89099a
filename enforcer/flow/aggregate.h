#pragma once
// Merges the logged packets of one flow within five seconds into one entry. Bounded: when it is full the oldest entry
// is given out early, never lost. No clock: the time is an argument.
#include <cstdint>
#include <list>
#include <optional>
#include <unordered_map>
#include <vector>

#include "enforcer/flow/decode.h"
#include "enforcer/flow/time.h"

namespace podfence::flow {

/// What makes two packets the same flow for a record. Source is who began the flow, also of a denied reply.
struct FlowKey {
  bool has_ip = false;
  net::IpAddr source;
  net::IpAddr destination;
  net::Protocol protocol;
  net::Port destination_port;
  Prefix prefix;
  std::uint32_t interface = 0;  // of the local pod; 0 = not known
  /// Packets of different states of the cluster are never merged: Enricher::version().
  std::uint64_t version = 0;
  friend bool operator==(const FlowKey&, const FlowKey&) = default;
};

struct FlowKeyHash {
  std::size_t operator()(const FlowKey& key) const noexcept;
};

struct FlowEntry {
  FlowKey key;
  TimePoint first;  // packet times
  TimePoint last;
  std::uint64_t count = 0;
  std::uint64_t bytes = 0;
  std::optional<net::Port> source_port;  // of the first packet, as the others below
  bool has_port = false;                 // key.destination_port is one
  std::optional<std::uint8_t> tcp_flags;
  std::optional<std::uint8_t> icmp_type;
  std::optional<std::uint8_t> icmp_code;
};

/// A packet as an entry of one; its version is still 0. `received` stands in for a packet without a credible time.
FlowEntry entry_of(const LoggedPacket& packet, TimePoint received);

class Aggregator {
 public:
  explicit Aggregator(std::size_t most_entries = 65'536, TimePoint::duration window = std::chrono::seconds(5));

  /// Adds a packet; gives out the oldest entry when there is no room for a new one.
  std::optional<FlowEntry> add(const FlowEntry& packet, TimePoint now);
  /// The entries whose window is over, oldest first.
  std::vector<FlowEntry> take_due(TimePoint now);
  std::vector<FlowEntry> take_all();

  std::size_t size() const { return index_.size(); }

 private:
  struct Slot {
    FlowEntry entry;
    TimePoint opened;
  };
  FlowEntry take_oldest();

  std::size_t most_entries_;
  TimePoint::duration window_;
  std::list<Slot> slots_;  // in the order of `opened`
  std::unordered_map<FlowKey, std::list<Slot>::iterator, FlowKeyHash> index_;
};

}  // namespace podfence::flow
