#pragma once
// Links, addresses, routes and neighbours of the network namespace that the thread is in, without a process for each.
// A refusal throws std::runtime_error: a test cannot go on without its network.
#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "enforcer/netlink/socket.h"
#include "policy/net/cidr.h"

namespace podfence::test {

using Mac = std::array<std::uint8_t, 6>;

class Rtnl {
 public:
  /// Works on the namespace in which it is made, wherever the thread goes later.
  Rtnl();

  struct VethEnd {
    std::string name;
    Mac mac{};
    int index = 0;  // 0 = the kernel's choice
  };
  /// The peer is born in another namespace. Ends with the same index get their carrier up to a second late: the kernel
  /// takes them for one device.
  void add_veth(const VethEnd& here, const VethEnd& peer, int peer_netns);
  /// With the switch that shows its packets to the inet hooks on or off.
  void add_bridge(const std::string& name, const Mac& mac, bool calls_iptables);
  void set_master(const std::string& name, const std::string& bridge, bool hairpin);
  /// What the bridge learns from a first frame: which port a MAC is behind.
  void add_forwarding(const std::string& port, const Mac& mac);
  void set_up(const std::string& name);
  /// Until a link that is up carries packets: before that, the kernel drops what is sent.
  void wait_for_carrier(const std::string& name);
  void remove_link(const std::string& name);
  /// The whole address as its own block, usable at once (no duplicate address detection).
  void add_address(const std::string& name, const net::IpAddr& ip, std::uint8_t length);
  /// Until the kernel takes packets for an address of its own: for IPv6, work that it puts off.
  void wait_for_address(const net::IpAddr& ip);

  struct Route {
    net::Cidr to;
    std::string device;
    std::optional<net::IpAddr> gateway;
    std::optional<net::IpAddr> source;
    bool local = false;  // the addresses are our own
  };
  void add_route(const Route& route);
  /// A permanent neighbour.
  void add_neighbour(const std::string& name, const net::IpAddr& ip, const Mac& mac);
  void remove_neighbour(const std::string& name, const net::IpAddr& ip);

 private:
  void send(nlmsghdr* message, const std::string& what);
  bool is_operational(const std::string& name);
  bool is_local(const net::IpAddr& ip);
  netlink::Socket socket_;
};

/// The whole of a family: 0.0.0.0/0, ::/0.
net::Cidr everything_of(net::Family family);
/// One address.
net::Cidr only(const net::IpAddr& ip);

/// Writes "1" to /proc/sys/net/ipv4/ip_forward, of the namespace that the thread is in.
void set_sysctl(const std::string& path, const std::string& value);

}  // namespace podfence::test
