#pragma once
// Finds the peers that a pod can match without asking all of them: by the pod's namespace, then by a label that the
// peer demands, or else by the name of its port. What is found is verified, so the index may offer too much.
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "policy/compile/spec_table.h"
#include "policy/store/cluster.h"

namespace podfence::compile {

class SpecIndex {
 public:
  SpecIndex() = default;
  SpecIndex(const SpecIndex&) = delete;
  SpecIndex& operator=(const SpecIndex&) = delete;

  /// Blocks without a named port are none of its business.
  void add(SpecId id, const model::PeerSpec& spec);
  void remove(SpecId id, const model::PeerSpec& spec);
  void forget_namespace(const std::string& name) { groups_of_.erase(name); }
  bool empty() const { return size_ == 0; }

  /// Where to look for the peers that pods of one namespace can match. Valid until the index changes.
  class Scope;
  Scope scope_of(const store::Cluster& cluster, const std::string& namespace_);

  /// Appends what an address matches that this pod, of that namespace, owns; not sorted, some perhaps twice.
  void match(const SpecTable& specs, const Scope& scope, const api::Pod& pod, const net::IpAddr& ip,
             Signature& out) const;

  /// Whether only pods of namespaces that are named can match, and which these are; but for blocks with a named port.
  bool is_confined() const { return groups_.empty(); }
  /// Whether pods of one namespace with the same labels and ports match the same, whatever their addresses are.
  bool is_by_labels() const { return of_blocks_.size == 0; }
  std::vector<std::string> named_namespaces() const;

 private:
  /// Peers of the same namespaces.
  using ByHash = std::unordered_map<std::uint64_t, std::vector<SpecId>>;
  struct Bucket {
    ByHash by_label;  // a key and a value that it demands
    ByHash by_port;   // the port's name
    std::vector<SpecId> rest;
    std::size_t size = 0;
  };
  using Groups = std::map<api::LabelSelector, Bucket>;
  static void search(const Bucket& bucket, const SpecTable& specs, const api::Pod& pod, const net::IpAddr& ip,
                     Signature& out);

  Bucket& bucket_of(const model::PeerSpec& spec);
  void drop_bucket_of(const model::PeerSpec& spec);
  const std::vector<const Bucket*>& groups_of(const store::Cluster& cluster, const std::string& namespace_);

  std::unordered_map<std::string, Bucket> of_namespace_;
  Groups groups_;     // by the selector of namespaces
  Bucket of_blocks_;  // blocks with a named port
  /// Namespace -> those of groups_ that match it, as they are asked for; emptied when a group comes or goes.
  std::unordered_map<std::string, std::vector<const Bucket*>> groups_of_;
  std::size_t size_ = 0;
};

class SpecIndex::Scope {
 public:
  /// Whether no pod of the namespace can match, but for blocks with a named port.
  bool empty() const { return own_ == nullptr && groups_->empty(); }

 private:
  friend class SpecIndex;
  const Bucket* own_ = nullptr;
  const std::vector<const Bucket*>* groups_ = nullptr;
};

}  // namespace podfence::compile
