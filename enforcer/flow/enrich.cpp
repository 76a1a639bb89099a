#include "enforcer/flow/enrich.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "policy/base/overloaded.h"
#include "policy/evaluate/evaluate.h"

namespace podfence::flow {
namespace {

using Keys = std::vector<std::string>;

/// Of the pod's labels those that records hold; nothing where they hold none.
std::optional<Labels> picked_labels(const api::Pod& pod, const Keys& keys) {
  if (keys.empty()) return std::nullopt;
  Labels labels;
  for (const auto& key : keys) {
    if (const auto value = api::find_label(pod.meta.labels, key)) labels.emplace_back(key, *value);
  }
  return labels;
}

/// Whether nothing that a record says, or that selectors of a policy see, differs.
bool same_for_records(const api::Pod* a, const api::Pod* b, const std::string& node, const Keys& keys) {
  if (a == nullptr || b == nullptr) return a == b;
  if (a->meta.uid != b->meta.uid || a->meta.name != b->meta.name || a->meta.namespace_ != b->meta.namespace_)
    return false;
  if (a->node != b->node || a->workload_kind != b->workload_kind || a->workload != b->workload) return false;
  if (a->named_ports != b->named_ports) return false;
  if (picked_labels(*a, keys) != picked_labels(*b, keys)) return false;
  return a->node != node || (a->meta.labels == b->meta.labels && a->selectable() == b->selectable());
}

PolicyRef reference_to(const api::NetworkPolicy& policy) {
  return {policy.meta.namespace_, policy.meta.name, policy.meta.uid, policy.meta.generation, {}};
}

void keep_common(std::vector<PolicyRef>& list, const std::vector<PolicyRef>& other) {
  const auto missing = [&](const PolicyRef& p) { return std::find(other.begin(), other.end(), p) == other.end(); };
  list.erase(std::remove_if(list.begin(), list.end(), missing), list.end());
}

/// A packet that met the old rules may be stamped a little after the commit returned.
constexpr std::chrono::milliseconds slack{2};

/// No packet is stamped so much later than it is read, but by a clock that was set back since.
constexpr std::chrono::seconds ahead{30};

std::uint64_t ticks(TimePoint t) {
  return static_cast<std::uint64_t>(t.time_since_epoch().count());
}

std::uint64_t mixed(std::uint64_t a, std::uint64_t b) {
  return (a ^ (b + 0x9e3779b97f4a7c15ULL + (a << 6U) + (a >> 2U))) * 0xff51afd7ed558ccdULL;
}

/// The name of the port that the flow went to.
std::string port_name(const api::Pod& pod, net::Protocol protocol, net::Port port) {
  for (const auto& named : pod.named_ports) {
    if (named.protocol == protocol && named.port == port) return named.name;
  }
  return {};
}

/// Of what selectors of peers see, and no address or policy tells.
bool changes_labels(const store::Event& event, const api::ObjectKey& key, const store::Cluster& cluster) {
  if (key.kind == api::Kind::namespace_ || key.kind == api::Kind::node) return true;
  if (key.kind != api::Kind::pod) return false;
  const auto* known = cluster.find_pod(key.namespace_, key.name);
  const auto* upsert = std::get_if<store::Upsert>(&event);
  const auto* pod = upsert == nullptr ? nullptr : std::get_if<api::Pod>(&upsert->object);
  return known != nullptr && pod != nullptr && !(known->meta.labels == pod->meta.labels);
}

Reason reason_of(evaluate::Reason reason) {
  if (reason == evaluate::Reason::allowed_by_rule) return Reason::explicit_allow;
  return reason == evaluate::Reason::not_isolated ? Reason::not_selected : Reason::default_allow;
}

}  // namespace

Enricher::Enricher(const store::Cluster& cluster, std::string node, std::vector<std::string> labels)
    : cluster_(cluster), node_(std::move(node)), labels_(std::move(labels)) {}

void Enricher::announce_pod(const api::Pod* now, const api::Pod* next) {
  if (now != nullptr && next != nullptr && *now == *next) return;
  for (const api::Pod* pod : {now, next}) {
    if (pod == nullptr) continue;
    for (const auto& ip : pod->ips) {
      if (owners_.has_pending(ip)) continue;
      const api::Pod* owner = cluster_.pod_by_ip(ip);
      owners_.announce(ip, owner == nullptr ? nullptr : std::make_shared<const api::Pod>(*owner));
    }
  }
}

void Enricher::before(std::span<const store::Event> events) {
  if (known_since_ == TimePoint::max()) return;  // the first load: there is nothing to remember yet
  for (const auto& event : events) {
    const api::ObjectKey key = store::key_of(event);
    labels_pending_ = labels_pending_ || changes_labels(event, key, cluster_);
    if (key.kind == api::Kind::pod) {
      const auto* upsert = std::get_if<store::Upsert>(&event);
      announce_pod(cluster_.find_pod(key.namespace_, key.name),
                   upsert == nullptr ? nullptr : std::get_if<api::Pod>(&upsert->object));
    } else if (key.kind == api::Kind::network_policy) {
      const store::NamespacedName name{key.namespace_, key.name};
      if (policies_.has_pending(name)) continue;
      const auto* policy = cluster_.find_policy(key.namespace_, key.name);
      policies_.announce(name, policy == nullptr ? nullptr : std::make_shared<const api::NetworkPolicy>(*policy));
    }
  }
}

void Enricher::notice(TimePoint now) {
  const TimePoint before = std::exchange(latest_, now);
  if (now >= before) return;
  // A little: every time until it is there again is of two moments. A lot: those of the old clock are of the future.
  owners_.forget(TimePoint::max(), 0);
  policies_.forget(TimePoint::max(), 0);
  labels_changed_ = std::min(labels_changed_, now);
  for (auto& [index, known] : interfaces_) {
    if (known.gone != TimePoint::max()) known.gone = std::min(known.gone, now);
  }
  if (known_since_ != TimePoint::max()) known_since_ = (before - now <= 2 * ahead ? before : now) + slack;
}

/// Of a packet of that time.
bool Enricher::is_known(TimePoint t) const {
  return t >= known_since_ && t - latest_ <= ahead;
}

void Enricher::after(TimePoint begin, TimePoint end) {
  notice(end);
  cache_.clear();
  begin = std::min(begin, end) - slack;
  end += slack;
  if (std::exchange(labels_pending_, false)) labels_changed_ = end;
  owners_.settle(begin, end, [&](const net::IpAddr& ip, const PodPtr& before) {
    return same_for_records(before.get(), cluster_.pod_by_ip(ip), node_, labels_);
  });
  policies_.settle(begin, end, [&](const store::NamespacedName& name, const PolicyPtr& before) {
    const auto* policy = cluster_.find_policy(name.first, name.second);
    return before == nullptr || policy == nullptr ? before.get() == policy : *before == *policy;
  });
  if (known_since_ == TimePoint::max()) known_since_ = begins_with_nothing_ ? begin : end;
  forget(end);
}

void Enricher::forget(TimePoint now) {
  const TimePoint oldest = now - memory;
  const TimePoint whole = std::max(owners_.forget(oldest, most_changes), policies_.forget(oldest, most_changes));
  if (known_since_ != TimePoint::max()) known_since_ = std::max(known_since_, whole);
  for (auto it = interfaces_.begin(); it != interfaces_.end();) {
    it = it->second.gone < oldest ? interfaces_.erase(it) : std::next(it);
  }
}

void Enricher::set_interfaces(const std::map<std::uint32_t, PodInterface>& interfaces, TimePoint now) {
  for (auto& [index, known] : interfaces_) {
    if (known.gone == TimePoint::max()) known.gone = now;
  }
  for (const auto& [index, of] : interfaces) interfaces_[index] = {of, TimePoint::max()};
}

Enricher::Owner Enricher::owner_at(const net::IpAddr& ip, TimePoint t) const {
  if (const auto* change = owners_.after(ip, t)) return {change->before.get(), change->before, !change->pending()};
  return {cluster_.pod_by_ip(ip), nullptr, false};
}

TimePoint Enricher::policies_since(const std::string& namespace_, TimePoint t) const {
  TimePoint latest{};
  const auto& all = policies_.changes();
  for (auto it = all.lower_bound({namespace_, ""}); it != all.end() && it->first.first == namespace_; ++it) {
    latest = std::max(latest, policies_.since(it->first, t));
  }
  return latest;
}

bool Enricher::policies_changed_after(const std::string& namespace_, TimePoint t) const {
  const auto& all = policies_.changes();
  for (auto it = all.lower_bound({namespace_, ""}); it != all.end() && it->first.first == namespace_; ++it) {
    if (policies_.after(it->first, t) != nullptr) return true;
  }
  return false;
}

/// t moved to where nothing that matters here is being committed.
TimePoint Enricher::past_changes(const net::IpAddr& local, const std::string& namespace_, TimePoint t) const {
  const auto& all = policies_.changes();
  for (;;) {
    TimePoint latest = owners_.past_change(local, t);
    for (auto it = all.lower_bound({namespace_, ""}); it != all.end() && it->first.first == namespace_; ++it) {
      latest = std::max(latest, policies_.past_change(it->first, t));
    }
    if (latest == t) return t;
    t = latest;  // one commit may have begun before the other ended
  }
}

std::uint64_t Enricher::version(const FlowEntry& packet) const {
  const FlowKey& key = packet.key;
  const TimePoint t = packet.first;
  std::uint64_t version = mixed(ticks(owners_.since(key.source, t)), ticks(owners_.since(key.destination, t)));
  const Owner owner = owner_at(local_is_source(key) ? key.source : key.destination, t);
  if (owner.pod != nullptr) version = mixed(version, ticks(policies_since(owner.pod->meta.namespace_, t)));
  // One packet of a time of which nothing is known would take what is known from all later ones of its flow.
  return is_known(t) ? version : mixed(version, 1);
}

Enricher::Selection Enricher::selecting_at(const Owner& owner, net::Direction direction, TimePoint t) {
  Selection found;
  if (owner.pod == nullptr) return found;
  const api::Pod& pod = *owner.pod;
  const std::string& namespace_ = pod.meta.namespace_;
  const bool past = policies_changed_after(namespace_, t);
  if (!past) {
    std::string name = std::string(net::name_of(direction)) + ' ' + namespace_ + '/' + pod.meta.name;
    const bool cacheable = owner.kept == nullptr;
    if (const auto cached = cache_.find(name); cacheable && cached != cache_.end()) return {cached->second, false};
    for (const auto* policy : evaluate::isolating(cluster_, pod, direction))
      found.policies.push_back(reference_to(*policy));
    found.stale = owner.stale;
    if (cacheable) cache_[std::move(name)] = found.policies;
    return found;
  }
  // The namespace's policies as they were, for the same judge.
  store::Cluster then;
  const auto& live = cluster_.policies();
  for (auto it = live.lower_bound({namespace_, ""}); it != live.end() && it->first.first == namespace_; ++it) {
    if (policies_.after(it->first, t) == nullptr) then.apply(store::Upsert{it->second});
  }
  found.stale = owner.stale;
  const auto& changed = policies_.changes();
  for (auto it = changed.lower_bound({namespace_, ""}); it != changed.end() && it->first.first == namespace_; ++it) {
    const auto* change = policies_.after(it->first, t);
    if (change == nullptr) continue;
    found.stale = found.stale || !change->pending();
    if (change->before != nullptr) then.apply(store::Upsert{*change->before});
  }
  for (const auto* policy : evaluate::isolating(then, pod, direction)) found.policies.push_back(reference_to(*policy));
  return found;
}

/// Only policies that were in force all the time between the first and the last packet, whatever was committed then.
Enricher::Selection Enricher::selecting(const net::IpAddr& local, net::Direction direction, TimePoint first,
                                        TimePoint last) {
  const Owner owner = owner_at(local, first);
  if (owner.pod == nullptr) return {};
  Selection found = selecting_at(owner, direction, first);
  const TimePoint end = past_changes(local, owner.pod->meta.namespace_, last);
  const bool moved = owners_.since(local, end) > first || policies_since(owner.pod->meta.namespace_, end) > first ||
                     end != last || past_changes(local, owner.pod->meta.namespace_, first) != first;
  if (moved) {
    const Selection later = selecting_at(owner_at(local, end), direction, end);
    keep_common(found.policies, later.policies);
    found.stale = true;
  }
  return found;
}

Endpoint Enricher::endpoint(const net::IpAddr& ip, TimePoint t) const {
  Endpoint end;
  end.ip = ip;
  if (const Owner owner = owner_at(ip, t); owner.pod != nullptr) {
    const api::Pod& pod = *owner.pod;
    end.type = EndpointType::pod;
    end.k8s = {pod.meta.namespace_, pod.meta.name, pod.meta.uid, pod.workload_kind, pod.workload, pod.node, {}};
    end.k8s.labels = picked_labels(pod, labels_);
    return end;
  }
  if (const auto* node = cluster_.node_by_ip(ip)) {
    end.type = EndpointType::node;
    end.k8s.node = node->meta.name;
    return end;
  }
  const auto* own = cluster_.find_node(node_);
  const bool pod_range = own != nullptr && std::any_of(own->pod_cidrs.begin(), own->pod_cidrs.end(),
                                                       [&](const net::Cidr& cidr) { return cidr.contains(ip); });
  end.type = pod_range ? EndpointType::unknown : EndpointType::world;
  return end;
}

/// The interface tells for certain which pod it is; an address may have gone to another, or be forged.
void Enricher::name_by_interface(Endpoint& end, std::uint32_t interface) const {
  const auto found = interfaces_.find(interface);
  if (found == interfaces_.end()) return;
  const PodInterface& of = found->second.of;
  if (of.pod.empty()) return;
  if (end.type == EndpointType::pod && end.k8s.namespace_ == of.namespace_ && end.k8s.pod == of.pod &&
      (of.uid.empty() || end.k8s.pod_uid == of.uid)) {
    return;
  }
  end.type = EndpointType::pod;
  end.k8s = {of.namespace_, of.pod, of.uid, {}, {}, node_, {}};
  const auto* pod = cluster_.find_pod(of.namespace_, of.pod);
  if (pod == nullptr || (!of.uid.empty() && pod->meta.uid != of.uid)) return;
  end.k8s.pod_uid = pod->meta.uid;
  end.k8s.workload_kind = pod->workload_kind;
  end.k8s.workload = pod->workload;
  end.k8s.labels = picked_labels(*pod, labels_);
}

void Enricher::attribute(FlowRecord& record, const FlowEntry& entry, const net::IpAddr& local) {
  switch (entry.key.prefix.why) {
    case Why::policy:
    case Why::reply: {
      record.reason = Reason::default_deny;
      if (!is_known(entry.first)) return;
      Selection found = selecting(local, record.direction, entry.first, entry.last);
      if (found.policies.empty()) return;
      record.attribution = found.stale ? Attribution::stale : Attribution::set;
      record.policies = std::move(found.policies);
      return;
    }
    case Why::unknown:
      record.reason = Reason::fail_closed;
      return;
    case Why::spoof:
      record.reason = Reason::spoofed_source;
      return;
    case Why::allowed:
      return attribute_allowed(record, entry);
    case Why::unattributed:
      record.reason = Reason::unattributed;
      record.verdict = Verdict::error;
      return;
  }
}

/// Whether the present cluster is, for this flow, the one under which its packets were judged.
bool Enricher::is_settled(const FlowEntry& entry) const {
  if (!is_known(entry.first) || labels_pending_ || entry.first <= labels_changed_) return false;
  for (const auto* ip : {&entry.key.source, &entry.key.destination}) {
    if (owners_.after(*ip, entry.first) != nullptr) return false;
    const auto* pod = cluster_.pod_by_ip(*ip);
    if (pod != nullptr && policies_changed_after(pod->meta.namespace_, entry.first)) return false;
  }
  return true;
}

/// By the judge of whole flows, who names the rules. Where anything changed since, nobody is named.
void Enricher::attribute_allowed(FlowRecord& record, const FlowEntry& entry) const {
  record.verdict = Verdict::allow;
  record.reason = Reason::unattributed;
  const FlowKey& key = entry.key;
  if (!key.has_ip || key.any_far || key.any_port || !is_settled(entry)) return;
  const auto verdict =
      evaluate::evaluate(cluster_, {key.source, key.destination, key.protocol, key.destination_port}, {.node = node_});
  if (!verdict.allowed) return;
  record.reason = reason_of(verdict.reason);
  record.attribution = Attribution::set;
  for (const auto& policy : verdict.policies) {
    const auto* found = cluster_.find_policy(policy.namespace_, policy.name);
    if (found == nullptr) continue;
    record.policies.push_back(reference_to(*found));
    record.policies.back().rule = std::string(net::name_of(policy.direction)) + '[' + std::to_string(policy.rule) + ']';
  }
}

FlowRecord Enricher::describe(const FlowEntry& entry) {
  const FlowKey& key = entry.key;
  FlowRecord record;
  record.time = entry.first;
  record.end = entry.last;
  record.direction = key.prefix.direction;
  record.reply = key.prefix.why == Why::reply;
  record.count = entry.count;
  record.bytes = entry.bytes;
  record.tcp_flags = entry.tcp_flags;
  record.icmp_type = entry.icmp_type;
  record.icmp_code = entry.icmp_code;
  if (const auto known = interfaces_.find(key.interface); known != interfaces_.end())
    record.interface = known->second.of.name;
  if (key.has_ip) {
    record.protocol = key.protocol;
    const bool no_source = key.any_far && far_is_source(key);
    const bool no_destination = key.any_far && (!far_is_source(key) || (key.any_port && key.prefix.why == Why::spoof));
    if (!no_source || !no_destination) record.family = (no_source ? key.destination : key.source).family();
    if (!no_source) record.source = endpoint(key.source, entry.first);
    if (!no_destination) record.destination = endpoint(key.destination, entry.first);
    if (!no_source) record.source.port = entry.source_port;
    if (entry.has_port) {
      record.destination.port = key.destination_port;
      const Owner owner = owner_at(key.destination, entry.first);
      if (owner.pod != nullptr)
        record.destination.k8s.port_name = port_name(*owner.pod, key.protocol, key.destination_port);
    }
  }
  record.scan = entry.scan;
  const bool from_here = local_is_source(key);
  if (key.prefix.why == Why::spoof) {
    record.source.type = EndpointType::unknown;  // the address is somebody else's, or nobody's
    record.source.k8s = {};
  }
  if (key.prefix.why != Why::unattributed)
    name_by_interface(from_here ? record.source : record.destination, key.interface);
  attribute(record, entry, from_here ? key.source : key.destination);
  return record;
}

}  // namespace podfence::flow
