#pragma once
// What is to be told about denied flows in Kubernetes Events, and when: one Event for a local pod, a peer, a port and
// the policies that denied; what comes later is its series. Two buckets bound it, one for each pod and one for the
// agent; what they have no room for is counted and said in the pod's next Event. A series is told every ten minutes,
// and what was not told yet ends with the agent: the flow log is the account, Events only point to it. Pure: no clock,
// no I/O.
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>

#include "enforcer/flow/history.h"

namespace podfence::sink {

struct EventLimits {
  unsigned pod_burst = 10;  // Events of one pod at once, then one in each pod_refill
  std::chrono::seconds pod_refill{60};
  unsigned agent_burst = 30;  // requests in all, then one in each agent_refill
  std::chrono::seconds agent_refill{1};
  std::chrono::seconds repeat{600};   // between two requests about the same
  std::chrono::seconds forget{1800};  // after that without a packet it begins anew
  std::chrono::seconds oldest{3600};  // records that are older are no news: Events do not live longer either
  unsigned tries = 5;                 // of an Event to which the API answers that it has failed
  std::size_t most_events = 4096;
  std::size_t most_pods = 1024;
};

/// A request to the API, for the path of one namespace's Events.
struct EventRequest {
  std::string method;  // POST or PATCH
  std::string path;
  std::string content_type;
  std::string body;
};

/// `status` 0: there was no whole answer, for that reason.
struct EventAnswer {
  unsigned status = 0;
  std::optional<std::chrono::seconds> retry_after = {};
  std::string body = {};
  std::string error = {};
};

/// The sentence of an Event, of at most 1 KiB, printable ASCII. `untold`: denied flows of the pod that no Event told.
std::string event_note(const flow::LoggedLine& line, std::uint64_t untold);

class EventBook {
 public:
  /// `run` differs with every start of the agent.
  EventBook(std::string node, std::string run, EventLimits limits = {});

  void take(const flow::LoggedLine& line, flow::TimePoint now);

  struct Call {
    std::string key;
    EventRequest request;
  };
  /// What to ask next: new Events first, when they are wanted, then series that are due.
  std::optional<Call> next(bool new_ones, flow::TimePoint now);

  struct Judged {
    bool again = false;  // the same later
    std::optional<std::chrono::seconds> pause = {};
    std::string error = {};
  };
  Judged answered(const Call& call, const EventAnswer& answer, flow::TimePoint now);

  /// Forgets what is over. Now and then.
  void forget(flow::TimePoint now);

  /// Records since the last call.
  struct Lost {
    std::uint64_t refused = 0;     // by the API, or too old
    std::uint64_t suppressed = 0;  // over the limits
  };
  Lost take_lost();
  std::size_t size() const { return events_.size(); }

 private:
  struct Bucket {
    double tokens = 0;
    flow::TimePoint filled{};
    bool take(unsigned burst, std::chrono::seconds refill, flow::TimePoint now);
  };
  struct Pod {
    Bucket bucket;
    flow::TimePoint used{};
    std::uint64_t untold = 0;  // denied flows that no Event told
  };
  struct Event {
    std::string namespace_;
    std::string name;
    flow::LoggedLine line;     // the first
    std::uint64_t untold = 0;  // before it, of its pod
    std::uint64_t count = 0;   // packets
    std::uint64_t told = 0;    // packets that the API knows of
    std::uint64_t records = 0;
    flow::TimePoint last{};        // packet
    flow::TimePoint last_told{};   // request
    flow::TimePoint last_taken{};  // record
    unsigned tries = 0;
    bool exists = false;
  };

  bool may_begin(const std::string& uid, flow::TimePoint now);
  EventRequest creation(const Event& event) const;
  static EventRequest series(const Event& event);
  Judged drop(const Call& call, std::string error);

  std::string node_;
  std::string run_;
  EventLimits limits_;
  Bucket agent_;
  std::map<std::string, Pod> pods_;      // by uid
  std::map<std::string, Event> events_;  // by what they are about
  std::deque<std::string> new_;          // keys of those that the API does not know
  std::uint64_t number_ = 0;
  Lost lost_;
};

}  // namespace podfence::sink
