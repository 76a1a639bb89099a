#pragma once
// Keeps the source guard on the host interfaces of this node's pods: what comes from a pod's interface with an address
// that is not the pod's is dropped, counted and logged (enforcer/link). Interfaces are looked up again when pods
// change, while one is missing, and now and then, for a device may be replaced under the same name.
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "enforcer/flow/enrich.h"
#include "enforcer/link/spoof_guard.h"
#include "policy/program/program.h"
#include "policy/store/cluster.h"

namespace podfence::agent {

class Guard {
 public:
  static Result<Guard> open(std::string node, const program::Options& options);

  void pods_changed() { due_ = true; }

  /// Once a second. The interfaces by index when they were looked up again, nothing otherwise.
  std::optional<std::map<std::uint32_t, flow::PodInterface>> refresh(const store::Cluster& cluster);

  /// Its counters are a part of the denied packets; see link::SpoofGuard.
  Result<std::map<std::string, std::uint64_t>> counters() { return guard_.counters(); }

  /// Addresses of local pods whose host interface was not found: their sources are not guarded.
  const std::vector<std::string>& unguarded() const { return unguarded_; }
  /// Of the last refresh; empty when it went well.
  const std::string& error() const { return error_; }

 private:
  Guard(std::string node, link::SpoofGuard guard) : node_(std::move(node)), guard_(std::move(guard)) {}

  std::string node_;
  link::SpoofGuard guard_;
  std::vector<std::string> unguarded_;
  std::string error_;
  unsigned age_ = 0;  // seconds since the last look
  bool due_ = true;
};

}  // namespace podfence::agent
