#include "enforcer/agent/guard.h"

#include <set>
#include <unordered_map>

#include "enforcer/link/host_interface.h"

namespace podfence::agent {
namespace {

constexpr unsigned seconds_between_looks = 10;

}  // namespace

Result<Guard> Guard::open(std::string node, const program::Options& options) {
  auto guard = link::SpoofGuard::open(options);
  if (!guard) return fail(guard.error());
  return Guard(std::move(node), std::move(*guard));
}

/// What the plugin reported needs no look: its device, by the index that it had, and its own addresses.
Guard::Devices Guard::attached(const sandbox::Attachments& attachments) const {
  Devices devices;
  for (const auto& [key, attachment] : attachments.all()) {
    if (index_.of(attachment.host_interface) != attachment.host_ifindex) continue;
    auto& device = devices[attachment.host_interface];
    device.index = attachment.host_ifindex;
    for (const auto& ip : attachment.addresses) {
      if (attachments.claimant(ip) == &attachment) device.addresses.push_back(ip);
    }
  }
  return devices;
}

void Guard::plugged_in(const sandbox::Attachments& attachments) {
  set(attached(attachments));
}

std::optional<Guard::Interfaces> Guard::on_tick(const store::Cluster& cluster,
                                                const sandbox::Attachments& attachments) {
  ++age_;
  if (!due_ && age_ < seconds_between_looks) return std::nullopt;
  due_ = false;
  age_ = 0;
  auto devices = attached(attachments);
  std::set<net::IpAddr> guarded;
  for (const auto& [name, device] : devices) guarded.insert(device.addresses.begin(), device.addresses.end());

  std::vector<net::IpAddr> addresses;
  std::unordered_map<net::IpAddr, const api::Pod*, net::IpAddrHash> owners;
  for (const auto& [key, pod] : cluster.pods()) {
    if (pod.node != node_ || !pod.selectable()) continue;
    for (const auto& ip : pod.ips) {
      if (cluster.pod_by_ip(ip) != &pod || guarded.contains(ip)) continue;
      addresses.push_back(ip);
      owners.emplace(ip, &pod);
    }
  }
  found_.clear();
  not_found_.clear();
  Interfaces interfaces;
  const auto found = addresses.empty() ? std::vector<link::HostInterface>() : link::find_host_interfaces(addresses);
  if (!found) {
    error_ = found.error().what();
    due_ = true;
    return std::nullopt;
  }
  for (const auto& interface : *found) {
    auto& device = found_[interface.name];
    device.index = interface.index;
    device.addresses.push_back(interface.address);
    guarded.insert(interface.address);
    const auto& pod = *owners.at(interface.address);
    // A dual-stack pod behind a bridge may have a neighbour entry for one of its addresses only: the device is known by
    // that one, and all of the pod's addresses are its own.
    for (const auto& ip : pod.ips) {
      if (owners.contains(ip) && guarded.insert(ip).second) device.addresses.push_back(ip);
    }
    interfaces[interface.index] = {interface.name, pod.meta.namespace_, pod.meta.name, pod.meta.uid};
  }
  for (const auto& address : addresses) {
    if (!guarded.contains(address)) not_found_.push_back(address.text());
  }
  set(devices);
  return interfaces;
}

void Guard::set(const Devices& attached) {
  auto devices = found_;
  for (const auto& [name, device] : attached) devices[name] = device;
  unguarded_ = not_found_;
  const auto missing = guard_.set(devices);
  error_ = missing ? "" : missing.error().what();
  if (missing) {
    for (const auto& name : *missing) {
      for (const auto& address : devices.at(name).addresses) unguarded_.push_back(address.text());
    }
  }
  due_ = due_ || !missing || !unguarded_.empty();
}

}  // namespace podfence::agent
