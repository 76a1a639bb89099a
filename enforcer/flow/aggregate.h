#pragma once
// Merges the logged packets of one flow within five seconds into one entry. A flow that goes on is given out less often
// then, every 20 s at last. What one end tries at many ports, or at many other ends, is merged into one entry for all
// of them, so that a scan makes few records and takes nobody else's room. Bounded: when it is full the oldest entry is
// given out early, never lost. No clock: the time is an argument.
#include <array>
#include <cstdint>
#include <list>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "enforcer/flow/decode.h"
#include "enforcer/flow/record.h"
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
  /// Of an entry for many: its key has no destination port, or not the end that is not the local pod.
  bool any_port = false;
  bool any_far = false;
  friend bool operator==(const FlowKey&, const FlowKey&) = default;
};

struct FlowKeyHash {
  std::size_t operator()(const FlowKey& key) const noexcept;
};

/// Which end of the flow is the pod whose policies were asked. Of a spoofed packet, the sender.
inline bool local_is_source(const FlowKey& key) {
  return key.prefix.direction == net::Direction::egress;
}

/// Whether the addresses that an entry for many was made of are sources: forged ones, or those that came to a pod.
inline bool far_is_source(const FlowKey& key) {
  return key.prefix.why == Why::spoof || !local_is_source(key);
}

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
  std::optional<Scan> scan = {};  // of an entry for many
  bool keeps_end = false;         // where it went is worth a record, whatever else its source tries
};

struct AggregateLimits {
  std::size_t most_entries = 65'536;
  std::size_t scan_after = 32;       // ports of two ends, or ends that one pod tries at one port: more are merged
  std::size_t most_of_pod = 1024;    // entries with one local end: more are merged, whatever they are
  std::size_t most_distinct = 4096;  // that are counted in an entry for many
  TimePoint::duration window = std::chrono::seconds(5);  // doubled for what goes on, and once more
};

/// A packet as an entry of one; its version is still 0. `received` stands in for a packet without a credible time.
FlowEntry entry_of(const LoggedPacket& packet, TimePoint received);

class Aggregator {
 public:
  explicit Aggregator(AggregateLimits limits = {});

  /// Adds a packet; gives out the oldest entry when there is no room for a new one.
  std::optional<FlowEntry> add(const FlowEntry& packet, TimePoint now);
  /// The entries whose window is over, oldest first.
  std::vector<FlowEntry> take_due(TimePoint now);
  std::vector<FlowEntry> take_all();

  std::size_t size() const { return index_.size(); }

 private:
  static constexpr std::size_t levels = 3;  // of windows: one, two and four times the first

  /// With a count of 0 it waits whether its flow goes on.
  struct Slot {
    FlowEntry entry;
    TimePoint opened;
    std::size_t level = 0;
    std::unordered_set<std::uint64_t> ports = {};
    std::unordered_set<std::uint64_t> ends = {};
    bool busy = false;  // of an entry for many: it was one in the window before
  };
  using Slots = std::list<Slot>;
  /// The keys of the entries for many that a flow could be merged into.
  struct Wider {
    FlowKey ports;
    FlowKey ends;
    FlowKey all;
  };

  static Wider wider(const FlowKey& key);
  TimePoint::duration window(std::size_t level) const { return limits_.window * (std::size_t{1} << level); }
  FlowKey place_of(const FlowEntry& packet) const;
  bool full(const FlowKey& wide, std::size_t most) const;
  void merge(Slot& slot, const FlowEntry& packet) const;
  void count_groups(const FlowEntry& entry, bool comes);
  FlowEntry given_out(Slot& slot) const;
  void remove(Slots& slots, Slots::iterator slot);
  std::optional<FlowEntry> take_oldest();

  AggregateLimits limits_;
  std::array<Slots, levels> slots_;  // each in the order of `opened`
  std::unordered_map<FlowKey, Slots::iterator, FlowKeyHash> index_;
  std::unordered_map<FlowKey, std::size_t, FlowKeyHash> groups_;  // entries by what they could be merged into
};

}  // namespace podfence::flow
