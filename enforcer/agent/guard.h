#pragma once
// Keeps the source guard on the host interfaces of this node's pods: what comes from a pod's interface with an address
// that is not the pod's is dropped, counted and logged (enforcer/link). What the CNI plugin plugged in is guarded
// before the plugin is answered. The interfaces of other pods are looked up: when pods change, while one is missing,
// and now and then, for a device may be replaced under the same name.
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "enforcer/flow/enrich.h"
#include "enforcer/link/spoof_guard.h"
#include "enforcer/sandbox/attachments.h"
#include "policy/program/program.h"
#include "policy/store/cluster.h"

namespace podfence::agent {

class Guard {
 public:
  static Result<Guard> open(std::string node, const program::Options& options);

  void pods_changed() { due_ = true; }

  using Interfaces = std::map<std::uint32_t, flow::PodInterface>;
  /// Once a second. The interfaces that were looked up, by index, when it was time for that; nothing otherwise.
  std::optional<Interfaces> on_tick(const store::Cluster& cluster, const sandbox::Attachments& attachments);
  /// At once, what was plugged in; the others as they were found last.
  void plugged_in(const sandbox::Attachments& attachments);

  /// Its counters are a part of the denied packets; see link::SpoofGuard.
  Result<std::map<std::string, std::uint64_t>> counters() { return guard_.counters(); }

  /// Addresses of local pods whose host interface was not found: their sources are not guarded.
  const std::vector<std::string>& unguarded() const { return unguarded_; }
  /// Of the last refresh; empty when it went well.
  const std::string& error() const { return error_; }

 private:
  using Devices = std::map<std::string, link::GuardedDevice>;
  Guard(std::string node, link::SpoofGuard guard) : node_(std::move(node)), guard_(std::move(guard)) {}
  Devices attached(const sandbox::Attachments& attachments) const;
  void set(const Devices& attached);

  std::string node_;
  link::SpoofGuard guard_;
  link::InterfaceIndex index_;
  Devices found_;                       // of pods that the plugin did not report
  std::vector<std::string> not_found_;  // addresses of theirs
  std::vector<std::string> unguarded_;
  std::string error_;
  unsigned age_ = 0;  // seconds since the last look
  bool due_ = true;
};

}  // namespace podfence::agent
