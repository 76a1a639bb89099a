#include "tests/netns/topology.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace podfence::test {
namespace {

using namespace net::literals;

constexpr const char* bridge_name = "br0";
constexpr const char* inner_name = "eth0";
const net::IpAddr outer4 = net::IpAddr::v4(169, 254, 2, 2);
const net::IpAddr outer6 = net::IpAddr::v6({0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2});

[[noreturn]] void give_up(const char* what) {
  throw std::runtime_error(std::string(what) + ": " + std::strerror(errno));
}

Mac mac_of(std::uint8_t kind, Place place) {
  return {0x02, 0x70, 0x66, kind, static_cast<std::uint8_t>(place >> 8U), static_cast<std::uint8_t>(place & 0xffU)};
}

/// No noise of its own, and nothing that would hide a packet from the rules.
void make_quiet() {
  set_sysctl("net/ipv4/conf/all/rp_filter", "0");
  set_sysctl("net/ipv4/conf/default/rp_filter", "0");
  set_sysctl("net/ipv6/conf/default/accept_dad", "0");
  set_sysctl("net/ipv6/conf/default/accept_ra", "0");
  set_sysctl("net/ipv6/conf/default/router_solicitations", "0");
  set_sysctl("net/ipv4/icmp_ratelimit", "0");
  set_sysctl("net/ipv6/icmp/ratelimit", "0");
}

std::optional<net::IpAddr> first_of(std::span<const net::IpAddr> addresses, net::Family family) {
  for (const auto& ip : addresses) {
    if (ip.family() == family) return ip;
  }
  return std::nullopt;
}

std::uint8_t full_length(net::Family family) {
  return family == net::Family::ipv4 ? 32 : 128;
}

}  // namespace

Netns Netns::current() {
  const int fd = ::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  if (fd < 0) give_up("open of the network namespace");
  return Netns(fd);
}

Netns Netns::create() {
  const Netns before = current();
  if (::unshare(CLONE_NEWNET) != 0) give_up("unshare");
  Netns made = current();
  make_quiet();
  Rtnl().set_up("lo");
  before.enter();
  return made;
}

Netns::Netns(Netns&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

Netns& Netns::operator=(Netns&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

Netns::~Netns() {
  if (fd_ >= 0) ::close(fd_);
}

void Netns::enter() const {
  if (::setns(fd_, CLONE_NEWNET) != 0) give_up("setns");
}

std::string Topology::host_interface(Place place) {
  return place == at_outside ? "up0" : "veth" + std::to_string(place - at_first_pod);
}

Mac Topology::host_mac(Place place) {
  return mac_of(0, place);
}

Mac Topology::inner_mac(Place place) {
  return mac_of(1, place);
}

const net::IpAddr& Topology::gateway(net::Family family) {
  static const net::IpAddr v4 = "169.254.1.1"_ip;
  static const net::IpAddr v6 = "fe80::1"_ip;
  return family == net::Family::ipv4 ? v4 : v6;
}

Topology::Topology(const TopologySpec& spec) {
  spaces_.push_back(Netns::current());
  for (const auto& ip : spec.node) owners_.emplace(ip, at_node);
  prepare_node(spec);
  spaces_.push_back(Netns::create());
  attach_outside(spec);
  for (const auto& addresses : spec.pods) {
    const Place place = spaces_.size();
    spaces_.push_back(Netns::create());
    std::vector<net::IpAddr> own;
    for (const auto& ip : addresses) {
      if (owners_.emplace(ip, place).second) own.push_back(ip);
    }
    attach(place, spec, own);
    set_up_inside(place, own, spec.attachment);
  }
  set_up_outside();
  wait_until_ready();
  if (spec.attachment == Attachment::bridged) link_bridged_pods();
}

void Topology::wait_until_ready() {
  for (Place place = at_outside; place < places(); ++place) {
    node_.wait_for_carrier(host_interface(place));
    enter(place);
    Rtnl().wait_for_carrier(inner_name);
    back_to_node();
  }
  for (const auto& [ip, place] : owners_) {
    enter(place);
    Rtnl().wait_for_address(ip);
  }
  back_to_node();
}

void Topology::prepare_node(const TopologySpec& spec) {
  make_quiet();
  set_sysctl("net/ipv4/ip_forward", "1");
  set_sysctl("net/ipv6/conf/all/forwarding", "1");
  node_.set_up("lo");
  node_.add_address("lo", gateway(net::Family::ipv4), 32);
  if (spec.attachment == Attachment::routed) return;
  set_sysctl("net/bridge/bridge-nf-call-iptables", "0");
  set_sysctl("net/bridge/bridge-nf-call-ip6tables", "0");
  node_.add_bridge(bridge_name, host_mac(at_node), spec.bridge_calls_iptables);
  node_.set_up(bridge_name);
  node_.add_address(bridge_name, gateway(net::Family::ipv6), 64);
}

/// The node's side of a pod or of the uplink.
void Topology::attach(Place place, const TopologySpec& spec, std::span<const net::IpAddr> addresses) {
  const auto name = host_interface(place);
  constexpr int first_index = 100;
  node_.add_veth({name, host_mac(place), first_index + static_cast<int>(place)}, {inner_name, inner_mac(place)},
                 spaces_[place].fd());
  node_.set_up(name);
  const bool bridged = place >= at_first_pod && spec.attachment == Attachment::bridged;
  if (bridged) {
    node_.set_master(name, bridge_name, true);
  } else {
    node_.add_address(name, gateway(net::Family::ipv6), 64);
  }
  const std::string device = bridged ? bridge_name : name;
  for (const auto& ip : addresses) {
    node_.add_route({only(ip), device, std::nullopt, first_of(spec.node, ip.family())});
    node_.add_neighbour(device, ip, inner_mac(place));
  }
}

void Topology::set_up_inside(Place place, std::span<const net::IpAddr> addresses, Attachment attachment) {
  enter(place);
  Rtnl inside;
  inside.set_up(inner_name);
  for (const auto& ip : addresses) inside.add_address(inner_name, ip, full_length(ip.family()));
  const bool bridged = attachment == Attachment::bridged;
  for (const auto family : net::families) {
    const auto source = first_of(addresses, family);
    if (!source) continue;
    inside.add_neighbour(inner_name, gateway(family), bridged ? host_mac(at_node) : host_mac(place));
    inside.add_route({everything_of(family), inner_name, gateway(family), source});
  }
  back_to_node();
}

/// The node's addresses and its way out. Comes before the pods, whose routes name these addresses as their source.
void Topology::attach_outside(const TopologySpec& spec) {
  attach(at_outside, spec, {});
  const std::string uplink = host_interface(at_outside);
  for (const auto& ip : spec.node) node_.add_address(uplink, ip, full_length(ip.family()));
  for (const auto& next : {outer4, outer6}) {
    node_.add_neighbour(uplink, next, inner_mac(at_outside));
    node_.add_route({everything_of(next.family()), uplink, next, first_of(spec.node, next.family())});
  }
}

/// Every address that is not a pod's or the node's is the outside's own.
void Topology::set_up_outside() {
  enter(at_outside);
  Rtnl outside;
  outside.set_up(inner_name);
  outside.add_address(inner_name, outer4, 32);
  outside.add_address(inner_name, outer6, 64);
  for (const auto family : net::families) {
    outside.add_neighbour(inner_name, gateway(family), host_mac(at_outside));
    outside.add_route({only(gateway(family)), inner_name, std::nullopt, std::nullopt});
    outside.add_route({everything_of(family), "lo", std::nullopt, std::nullopt, true});
  }
  for (const auto& [ip, place] : owners_) outside.add_route({only(ip), inner_name, gateway(ip.family()), std::nullopt});
  back_to_node();
}

/// Pods of one bridge reach each other without the node's routing. The bridge knows them before their first frame.
void Topology::link_bridged_pods() {
  node_.wait_for_carrier(bridge_name);
  for (Place place = at_first_pod; place < places(); ++place) {
    node_.add_forwarding(host_interface(place), inner_mac(place));
  }
  for (Place place = at_first_pod; place < places(); ++place) {
    enter(place);
    Rtnl inside;
    for (const auto& [ip, owner] : owners_) {
      if (owner < at_first_pod || owner == place) continue;
      inside.add_route({only(ip), inner_name, std::nullopt, std::nullopt});
      inside.add_neighbour(inner_name, ip, inner_mac(owner));
    }
  }
  back_to_node();
}

Place Topology::place_of(const net::IpAddr& ip) const {
  const auto found = owners_.find(ip);
  return found == owners_.end() ? at_outside : found->second;
}

}  // namespace podfence::test
