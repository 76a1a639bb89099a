#include "enforcer/sandbox/join.h"

#include <algorithm>
#include <set>

namespace podfence::sandbox {
namespace {

using Addresses = std::vector<net::IpAddr>;

bool contains(const Addresses& addresses, const net::IpAddr& ip) {
  return std::find(addresses.begin(), addresses.end(), ip) != addresses.end();
}

bool overlap(const Addresses& a, const Addresses& b) {
  return std::any_of(a.begin(), a.end(), [&](const net::IpAddr& ip) { return contains(b, ip); });
}

PodName name_of(const api::Pod& pod) {
  return {pod.meta.namespace_, pod.meta.name};
}

/// Its addresses are sandboxes' matter.
bool has_sandbox(const api::Pod& pod) {
  return !pod.host_network;
}

store::Event event_of(const api::Pod& object, const Addresses& addresses) {
  api::Pod pod = object;
  pod.ips = addresses;
  return store::Upsert{std::move(pod)};
}

}  // namespace

Join::Events Join::take(Events events) {
  for (auto& event : events) {
    if (auto* upsert = std::get_if<store::Upsert>(&event)) {
      if (auto* pod = std::get_if<api::Pod>(&upsert->object)) event = take(std::move(*pod));
      continue;
    }
    const auto& remove = std::get<store::Remove>(event);
    if (remove.key.kind == api::Kind::pod) {
      const auto at = locals_.find({remove.key.namespace_, remove.key.name});
      // The same rule as the cluster's: a late removal of another uid is nothing.
      if (remove.uid.empty() || (at != locals_.end() && remove.uid == at->second.object.meta.uid)) forget(at);
    }
  }
  return events;
}

store::Event Join::take(api::Pod pod) {
  const auto name = name_of(pod);
  if (pod.node != node_ || !has_sandbox(pod)) {
    forget(locals_.find(name));
    return store::Upsert{std::move(pod)};
  }
  auto& local = locals_[name];
  if (local.object.meta.uid != pod.meta.uid) local.retired.clear();
  // Once its status has let go of an address, the status is up to date about it.
  const auto let_go = [&](const net::IpAddr& ip) { return contains(local.object.ips, ip) && !contains(pod.ips, ip); };
  local.retired.erase(std::remove_if(local.retired.begin(), local.retired.end(), let_go), local.retired.end());
  local.object = std::move(pod);
  give(local, addresses_of(name, local));
  return event_of(local.object, local.given);
}

void Join::give(Local& local, Addresses addresses) {
  for (const auto& ip : local.given) {
    if (!contains(addresses, ip)) lost_.push_back(ip);
  }
  local.given = std::move(addresses);
}

void Join::forget(Locals::iterator at) {
  if (at == locals_.end()) return;
  give(at->second, {});
  locals_.erase(at);
}

Addresses Join::addresses_of(const PodName& name, const Local& local) const {
  Addresses addresses;
  auto sandboxes = attachments_.of_pod(name);
  const auto of_another = [&](const Attachment* a) { return !belongs_to(*a, local.object); };
  sandboxes.erase(std::remove_if(sandboxes.begin(), sandboxes.end(), of_another), sandboxes.end());
  for (const auto* a : sandboxes) {
    if (a->key.container_id != sandboxes.back()->key.container_id) continue;
    for (const auto& ip : a->addresses) {
      if (attachments_.claimant(ip) == a && !contains(addresses, ip)) addresses.push_back(ip);
    }
  }
  for (const auto& ip : local.object.ips) {
    if (contains(addresses, ip) || contains(local.retired, ip)) continue;
    const auto* claimant = attachments_.claimant(ip);
    if (claimant == nullptr || !names_pod(*claimant)) addresses.push_back(ip);
  }
  const auto& said = local.object.ips;
  return std::is_permutation(addresses.begin(), addresses.end(), said.begin(), said.end()) ? said : addresses;
}

Join::Events Join::added(const Attachment& added, const std::optional<Attachment>& replaced) {
  std::vector<const Attachment*> changed{&added};
  if (replaced) {
    retire(*replaced);
    changed.push_back(&*replaced);
  }
  if (const auto at = locals_.find({added.pod_namespace, added.pod_name}); at != locals_.end()) {
    auto& retired = at->second.retired;
    const auto back = [&](const net::IpAddr& ip) { return contains(added.addresses, ip); };
    retired.erase(std::remove_if(retired.begin(), retired.end(), back), retired.end());
  }
  return refresh(changed);
}

Join::Events Join::removed(const Attachment& removed) {
  retire(removed);
  return refresh({&removed});
}

void Join::retire(const Attachment& gone) {
  const auto at = locals_.find({gone.pod_namespace, gone.pod_name});
  if (at == locals_.end() || !belongs_to(gone, at->second.object)) return;
  for (const auto& ip : gone.addresses) {
    if (!contains(at->second.retired, ip)) at->second.retired.push_back(ip);
  }
}

/// Pods whose addresses may have changed with these attachments.
Join::Events Join::refresh(const std::vector<const Attachment*>& changed) {
  std::set<PodName> names;
  Addresses touched;
  for (const auto* a : changed) {
    names.insert({a->pod_namespace, a->pod_name});
    touched.insert(touched.end(), a->addresses.begin(), a->addresses.end());
  }
  for (const auto& ip : touched) {
    if (const auto* a = attachments_.claimant(ip)) names.insert({a->pod_namespace, a->pod_name});
  }
  Events events;
  for (auto& [name, local] : locals_) {
    if (names.count(name) == 0 && !overlap(local.object.ips, touched) && !overlap(local.given, touched)) continue;
    auto now = addresses_of(name, local);
    if (now == local.given) continue;
    give(local, std::move(now));
    events.push_back(event_of(local.object, local.given));
  }
  return events;
}

const api::Pod* Join::given(const PodName& name) const {
  const auto at = locals_.find(name);
  return at == locals_.end() ? nullptr : &at->second.object;
}

const api::Pod* Join::pod_of(const Attachment& attachment) const {
  const auto at = locals_.find({attachment.pod_namespace, attachment.pod_name});
  return at != locals_.end() && belongs_to(attachment, at->second.object) ? &at->second.object : nullptr;
}

std::vector<Join::Unmanaged> Join::unmanaged() const {
  std::vector<Unmanaged> found;
  for (const auto& [name, local] : locals_) {
    if (local.object.terminal() || local.object.ips.empty()) continue;
    const auto sandboxes = attachments_.of_pod(name);
    const auto belongs = [&, &object = local.object](const Attachment* a) { return belongs_to(*a, object); };
    if (std::any_of(sandboxes.begin(), sandboxes.end(), belongs)) continue;
    const auto plugged = [&](const net::IpAddr& ip) {
      const auto* claimant = attachments_.claimant(ip);
      return claimant != nullptr && !names_pod(*claimant);
    };
    if (std::any_of(local.object.ips.begin(), local.object.ips.end(), plugged)) continue;
    if (!sandboxes.empty()) {
      found.push_back({name, "its name's sandbox is of uid " + sandboxes.back()->pod_uid + ", which this pod is not"});
    } else {
      found.push_back({name, "podfence-cni was not in the chain when it was plugged in, or its sandbox is gone"});
    }
  }
  return found;
}

}  // namespace podfence::sandbox
