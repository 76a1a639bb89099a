#include "policy/compile/spec_index.h"

#include <algorithm>

#include "policy/base/overloaded.h"

namespace podfence::compile {
namespace {

std::uint64_t hash_of(std::string_view text) {
  return std::hash<std::string_view>{}(text);
}

std::uint64_t hash_of(std::string_view key, std::string_view value) {
  return hash_of(key) * 0x9e3779b97f4a7c15ULL ^ hash_of(value);
}

/// Where in a bucket a peer is filed: by a requirement that only a few values of a key meet, once for each value.
struct Filing {
  enum class By { nothing, label, port } by = By::nothing;
  std::vector<std::uint64_t> hashes;  // each once
};

Filing filing_of(const model::PeerSpec& spec) {
  Filing filing;
  if (const auto* pods = std::get_if<model::PodsOf>(&spec.who)) {
    const auto& requirements = pods->pods.requirements;
    const auto demand = std::find_if(requirements.begin(), requirements.end(),
                                     [](const api::Requirement& r) { return r.op == api::Operator::in; });
    if (demand != requirements.end()) {
      filing.by = Filing::By::label;
      for (const std::string& value : demand->values) filing.hashes.push_back(hash_of(demand->key, value));
      std::sort(filing.hashes.begin(), filing.hashes.end());
      filing.hashes.erase(std::unique(filing.hashes.begin(), filing.hashes.end()), filing.hashes.end());
      return filing;
    }
  }
  if (spec.port) {
    filing.by = Filing::By::port;
    filing.hashes.push_back(hash_of(spec.port->name));
  }
  return filing;
}

}  // namespace

SpecIndex::Bucket& SpecIndex::bucket_of(const model::PeerSpec& spec) {
  return std::visit(overloaded{
                        [&](const model::PodsOf& pods) -> Bucket& {
                          if (const auto* name = std::get_if<std::string>(&pods.namespaces))
                            return of_namespace_[*name];
                          const auto [group, is_new] =
                              groups_.try_emplace(std::get<api::LabelSelector>(pods.namespaces));
                          if (is_new) groups_of_.clear();
                          return group->second;
                        },
                        [&](const model::Ranges&) -> Bucket& { return of_blocks_; },
                    },
                    spec.who);
}

void SpecIndex::drop_bucket_of(const model::PeerSpec& spec) {
  const auto* pods = std::get_if<model::PodsOf>(&spec.who);
  if (pods == nullptr) return;
  if (const auto* name = std::get_if<std::string>(&pods->namespaces)) {
    of_namespace_.erase(*name);
  } else {
    groups_.erase(std::get<api::LabelSelector>(pods->namespaces));
    groups_of_.clear();
  }
}

void SpecIndex::add(SpecId id, const model::PeerSpec& spec) {
  if (model::is_block(spec)) return;
  Bucket& bucket = bucket_of(spec);
  const Filing filing = filing_of(spec);
  if (filing.by == Filing::By::nothing) bucket.rest.push_back(id);
  ByHash& index = filing.by == Filing::By::label ? bucket.by_label : bucket.by_port;
  for (const std::uint64_t hash : filing.hashes) index[hash].push_back(id);
  ++bucket.size;
  ++size_;
}

void SpecIndex::remove(SpecId id, const model::PeerSpec& spec) {
  if (model::is_block(spec)) return;
  Bucket& bucket = bucket_of(spec);
  const auto drop = [id](std::vector<SpecId>& ids) { ids.erase(std::remove(ids.begin(), ids.end(), id), ids.end()); };
  const Filing filing = filing_of(spec);
  if (filing.by == Filing::By::nothing) drop(bucket.rest);
  ByHash& index = filing.by == Filing::By::label ? bucket.by_label : bucket.by_port;
  for (const std::uint64_t hash : filing.hashes) {
    drop(index[hash]);
    if (index[hash].empty()) index.erase(hash);
  }
  --size_;
  if (--bucket.size == 0) drop_bucket_of(spec);
}

const std::vector<const SpecIndex::Bucket*>& SpecIndex::groups_of(const store::Cluster& cluster,
                                                                  const std::string& namespace_) {
  const auto [place, is_new] = groups_of_.try_emplace(namespace_);
  if (is_new) {
    const api::Labels& labels = cluster.namespace_labels(namespace_);
    for (const auto& [selector, bucket] : groups_) {
      if (selector.matches(labels)) place->second.push_back(&bucket);
    }
  }
  return place->second;
}

SpecIndex::Scope SpecIndex::scope_of(const store::Cluster& cluster, const std::string& namespace_) {
  Scope scope;
  const auto own = of_namespace_.find(namespace_);
  if (own != of_namespace_.end()) scope.own_ = &own->second;
  scope.groups_ = &groups_of(cluster, namespace_);
  return scope;
}

void SpecIndex::search(const Bucket& bucket, const SpecTable& specs, const api::Pod& pod, const net::IpAddr& ip,
                       Signature& out) {
  const auto verify = [&](const std::vector<SpecId>& candidates) {
    for (const SpecId id : candidates) {
      if (const auto number = model::match_in_namespace(specs.at(id), ip, pod)) out.push_back(match_of(id, *number));
    }
  };
  const auto look_up = [&](const ByHash& index, std::uint64_t hash) {
    const auto found = index.find(hash);
    if (found != index.end()) verify(found->second);
  };
  verify(bucket.rest);
  if (!bucket.by_label.empty()) {
    for (const auto& [key, value] : pod.meta.labels) look_up(bucket.by_label, hash_of(key, value));
  }
  if (!bucket.by_port.empty()) {
    for (const api::ContainerPort& port : pod.named_ports) look_up(bucket.by_port, hash_of(port.name));
  }
}

void SpecIndex::match(const SpecTable& specs, const Scope& scope, const api::Pod& pod, const net::IpAddr& ip,
                      Signature& out) const {
  if (scope.own_ != nullptr) search(*scope.own_, specs, pod, ip, out);
  for (const Bucket* bucket : *scope.groups_) search(*bucket, specs, pod, ip, out);
  if (of_blocks_.size > 0) search(of_blocks_, specs, pod, ip, out);
}

std::vector<std::string> SpecIndex::named_namespaces() const {
  std::vector<std::string> names;
  for (const auto& [name, bucket] : of_namespace_) names.push_back(name);
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace podfence::compile
