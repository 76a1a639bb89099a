#pragma once
// Names both ends of a denied flow, and the policies that isolated the pod which denied it, as they were when the
// packet was judged. It reads the live cluster and remembers only what changed in the last minute, so its memory
// follows the rate of change and not the size of the cluster.
//
//   before(events)        the cluster is about to take these events (they become known)
//   after(begin, end)     the kernel took over what they mean at some point between the two (they take effect)
//
// In between, the old state is in force. A packet within [begin, end) may have met either: only what holds in both is
// said of it. Not thread-safe; the cluster must outlive it.
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "enforcer/flow/aggregate.h"
#include "enforcer/flow/record.h"
#include "enforcer/flow/timeline.h"
#include "policy/store/cluster.h"

namespace podfence::flow {

/// A network interface of this node that belongs to one local pod.
struct PodInterface {
  std::string name;  // "veth1a2b"; may be empty
  std::string namespace_;
  std::string pod;
  std::string uid;
};

class Enricher {
 public:
  static constexpr std::chrono::seconds memory{90};
  static constexpr std::size_t most_changes = 16'384;  // of addresses, and of policies

  /// `labels`: keys of those that records hold, sorted.
  Enricher(const store::Cluster& cluster, std::string node, std::vector<std::string> labels = {});

  /// The kernel holds nothing of ours: whatever is denied later, the first commit's rules denied it.
  void begin_with_nothing() { begins_with_nothing_ = true; }
  void before(std::span<const store::Event> events);
  void after(TimePoint begin, TimePoint end);

  /// What the clock says, before anything that depends on it. Where it was set back, the times of changes and of
  /// packets that are not read yet are of a clock that is no more: of those packets nothing sure is known.
  void notice(TimePoint now);

  /// By interface index; replaces the former list. Those no longer named are remembered for a while.
  void set_interfaces(const std::map<std::uint32_t, PodInterface>& interfaces, TimePoint now);

  /// Forgets what is too old. Now and then.
  void forget(TimePoint now);

  /// Differs for packets that may have to be attributed differently.
  std::uint64_t version(const FlowEntry& packet) const;

  FlowRecord describe(const FlowEntry& entry);

  std::size_t remembered_changes() const { return owners_.size() + policies_.size(); }

 private:
  using PodPtr = std::shared_ptr<const api::Pod>;
  using PolicyPtr = std::shared_ptr<const api::NetworkPolicy>;
  using Policies = std::vector<PolicyRef>;

  /// Who had an address at a time.
  struct Owner {
    const api::Pod* pod = nullptr;
    PodPtr kept;  // what `pod` points to when it is of the past
    bool stale = false;
  };
  struct Selection {
    Policies policies;
    bool stale = false;
  };
  struct KnownInterface {
    PodInterface of;
    TimePoint gone = TimePoint::max();
  };

  void announce_pod(const api::Pod* now, const api::Pod* next);
  Owner owner_at(const net::IpAddr& ip, TimePoint t) const;
  TimePoint policies_since(const std::string& namespace_, TimePoint t) const;
  bool policies_changed_after(const std::string& namespace_, TimePoint t) const;
  TimePoint past_changes(const net::IpAddr& local, const std::string& namespace_, TimePoint t) const;
  Selection selecting(const net::IpAddr& local, net::Direction direction, TimePoint first, TimePoint last);
  Selection selecting_at(const Owner& owner, net::Direction direction, TimePoint t);
  Endpoint endpoint(const net::IpAddr& ip, TimePoint t) const;
  void name_by_interface(Endpoint& end, std::uint32_t interface) const;
  void attribute(FlowRecord& record, const FlowEntry& entry, const net::IpAddr& local);
  void attribute_allowed(FlowRecord& record, const FlowEntry& entry) const;
  bool is_settled(const FlowEntry& entry) const;
  bool is_known(TimePoint t) const;

  const store::Cluster& cluster_;
  std::string node_;
  std::vector<std::string> labels_;
  Timeline<net::IpAddr, PodPtr> owners_;
  Timeline<store::NamespacedName, PolicyPtr> policies_;
  /// Of earlier packets nothing sure is known: before the first commit, and where memory was short.
  TimePoint known_since_ = TimePoint::max();
  TimePoint latest_{};
  bool begins_with_nothing_ = false;
  /// When labels of namespaces or known pods took effect last; pending: some are announced.
  TimePoint labels_changed_{};
  bool labels_pending_ = false;
  std::map<std::uint32_t, KnownInterface> interfaces_;
  std::unordered_map<std::string, Policies> cache_;  // of the present: "in namespace/name"
};

}  // namespace podfence::flow
