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

std::optional<std::map<std::uint32_t, flow::PodInterface>> Guard::refresh(const store::Cluster& cluster) {
  ++age_;
  if (!due_ && age_ < seconds_between_looks) return std::nullopt;
  due_ = false;
  age_ = 0;

  std::vector<net::IpAddr> addresses;
  std::unordered_map<net::IpAddr, const api::Pod*, net::IpAddrHash> owners;
  for (const auto& [key, pod] : cluster.pods()) {
    if (pod.node != node_ || !pod.selectable()) continue;
    for (const auto& ip : pod.ips) {
      if (cluster.pod_by_ip(ip) != &pod) continue;
      addresses.push_back(ip);
      owners.emplace(ip, &pod);
    }
  }
  const auto found = link::find_host_interfaces(addresses);
  if (!found) {
    error_ = found.error().what();
    due_ = true;
    return std::nullopt;
  }

  std::map<std::string, link::GuardedDevice> devices;
  std::map<std::uint32_t, flow::PodInterface> interfaces;
  std::set<net::IpAddr> guarded;
  for (const auto& interface : *found) {
    auto& device = devices[interface.name];
    device.index = interface.index;
    device.addresses.push_back(interface.address);
    guarded.insert(interface.address);
    const auto& meta = owners.at(interface.address)->meta;
    interfaces[interface.index] = {interface.name, meta.namespace_, meta.name, meta.uid};
  }
  // A dual-stack pod behind a bridge may have a neighbour entry for one of its addresses only: the device is known by
  // that one, and all of the pod's addresses are its own.
  for (auto& [name, device] : devices) {
    const auto* pod = owners.at(device.addresses.front());
    for (const auto& ip : pod->ips) {
      if (guarded.insert(ip).second && owners.count(ip) != 0) device.addresses.push_back(ip);
    }
  }
  unguarded_.clear();
  for (const auto& address : addresses) {
    if (guarded.count(address) == 0) unguarded_.push_back(address.text());
  }
  const auto missing = guard_.set(devices);
  error_ = missing ? "" : missing.error().what();
  due_ = !missing || !missing->empty() || !unguarded_.empty();
  return interfaces;
}

}  // namespace podfence::agent
