#pragma once
// A few patterns in denied flows that somebody should look at. Deterministic, explained by the record itself: each
// detection carries the numbers that made it and the ids of records that show it. One detection of a kind for one
// source is followed by ten minutes of silence. Bounded: of too many sources the one that was quiet for longest is
// forgotten. Pure: no clock, no I/O.
//
//   port_scan        one source, one destination: 20 denied ports in 60 s, or 50 in 9 min                   high
//   sweep            one source, one port: 30 destinations denied in 60 s, or 100 in 9 min                  high
//   metadata_access  a pod asks for a cloud's credentials                                                   high
//   spoofed_source   a pod's interface sent with an address that is not its own                             high
//   denied_spike     a workload: ten times its own average of the last hour, and more than 100 in 5 min     medium
//   log_loss         more than 1 % of 5 minutes' denied packets have no record                              medium
//   agent_tamper     our table was changed, or our log group taken, by somebody else                        critical
#include <chrono>
#include <cstdint>
#include <deque>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "enforcer/flow/record.h"

namespace podfence::flow {

struct DetectionLimits {
  std::size_t ports_fast = 20, ports_slow = 50;
  std::size_t hosts_fast = 30, hosts_slow = 100;
  std::chrono::seconds fast{60}, slow{540};
  std::uint64_t spike_packets = 100;
  double spike_factor = 10;
  double loss_share = 0.01;
  std::chrono::seconds bucket{300};   // of spikes and losses
  std::chrono::seconds memory{3600};  // of a workload's average; there are no spikes before so much was seen
  std::chrono::seconds silence{600};  // after a detection, for the same kind and source
  std::size_t most_sources = 4096;    // of each kind
};

/// Where clouds give out credentials.
bool is_metadata_address(const net::IpAddr& ip);

class Detector {
 public:
  Detector(DetectionLimits limits, TimePoint start);

  /// A record as it is written, with its number. `now` does not go back.
  void take(const FlowRecord& record, std::uint64_t sequence, TimePoint now);
  /// Packets in all, so far: denied, and of these stated as lost. Now and then.
  void account(std::uint64_t denied, std::uint64_t lost, TimePoint now);
  /// Somebody else changed something of ours.
  void tampered(std::string what, std::string by, TimePoint now);

  /// What was detected since the last call.
  std::vector<DetectionRecord> take_new();

 private:
  /// Which values (ports, or addresses as numbers) were seen when, the latest first; bounded.
  struct Seen {
    std::uint64_t value = 0;
    std::uint64_t sequence = 0;
    TimePoint time;
  };
  using Trail = std::deque<Seen>;
  struct Average {
    TimePoint bucket;
    std::uint64_t packets = 0;  // in the bucket
    double mean = 0;            // of the buckets before it
  };
  /// By key, those that were used last in front.
  template <class Value>
  class Recent {
   public:
    Value& at(const std::string& key, std::size_t most);

   private:
    std::list<std::pair<std::string, Value>> order_;
    std::unordered_map<std::string, typename std::list<std::pair<std::string, Value>>::iterator> index_;
  };

  void follow(Trail& trail, const Seen& seen, std::size_t most) const;
  static std::vector<std::uint64_t> samples_of(const Trail& trail);
  static std::size_t distinct(const Trail& trail, TimePoint since);
  bool silent(std::string_view name, const std::string& source, TimePoint now);
  void port_scan(const FlowRecord& record, const std::string& source, std::uint64_t sequence, TimePoint now);
  void sweep(const FlowRecord& record, const std::string& source, std::uint64_t sequence, TimePoint now);
  void spike(const FlowRecord& record, std::uint64_t sequence, TimePoint now);
  void single(const FlowRecord& record, const std::string& source, std::uint64_t sequence, TimePoint now);
  void advance(Average& average, TimePoint now) const;
  static DetectionRecord detection(std::string_view name, Severity severity, const FlowRecord& record, TimePoint now);

  DetectionLimits limits_;
  TimePoint start_;
  Recent<Trail> ports_;
  Recent<Trail> hosts_;
  Recent<Average> workloads_;
  Recent<TimePoint> silent_until_;  // by detection and source
  struct Account {
    TimePoint since;
    std::uint64_t denied = 0;
    std::uint64_t lost = 0;
  };
  std::optional<Account> account_;
  std::vector<DetectionRecord> new_;
};

}  // namespace podfence::flow
