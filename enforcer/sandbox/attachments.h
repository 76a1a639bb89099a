#pragma once
// All attachments of this node, as a value. An address that two of them claim belongs to the later one; when that one
// goes, or when the earlier one goes, the other keeps what it has (compare-and-delete; A10, D6, D-13).
#include <map>
#include <optional>
#include <unordered_map>
#include <vector>

#include "enforcer/sandbox/attachment.h"

namespace podfence::sandbox {

/// Namespace and name of a pod.
using PodName = std::pair<std::string, std::string>;

class Attachments {
 public:
  using Map = std::map<Key, Attachment>;

  Attachments() = default;
  Attachments(Attachments&&) = default;  // no copy: the indexes point into the map
  Attachments& operator=(Attachments&&) = default;

  /// Replaces the one with the same key; gives back what was there. The sequence is the caller's.
  std::optional<Attachment> put(Attachment attachment);
  std::optional<Attachment> remove(const Key& key);

  const Attachment* find(const Key& key) const;
  /// The latest attachment with that address.
  const Attachment* claimant(const net::IpAddr& ip) const;
  /// Those that say they are of a pod of that name, in the order in which they came.
  std::vector<const Attachment*> of_pod(const PodName& name) const;

  const Map& all() const { return all_; }
  /// Every address that is plugged in, sorted, each once.
  std::vector<net::IpAddr> addresses() const;
  std::uint64_t next_sequence() const { return last_sequence_ + 1; }

 private:
  Map all_;
  std::unordered_multimap<net::IpAddr, const Attachment*, net::IpAddrHash> by_ip_;
  std::multimap<PodName, const Attachment*> by_pod_;
  std::uint64_t last_sequence_ = 0;
};

}  // namespace podfence::sandbox
