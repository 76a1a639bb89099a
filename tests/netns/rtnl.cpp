#include "tests/netns/rtnl.h"

#include <libmnl/libmnl.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sys/socket.h>

#include <chrono>
#include <fstream>
#include <stdexcept>
#include <thread>
#include <tuple>

#include "enforcer/netlink/attribute.h"

namespace podfence::test {
namespace {

/// A message under construction.
class Message {
 public:
  Message(std::uint16_t type, std::uint16_t flags) : header_(mnl_nlmsg_put_header(buffer_.data())) {
    header_->nlmsg_type = type;
    header_->nlmsg_flags = flags;
  }
  template <class T>
  T& extra() {
    return *static_cast<T*>(mnl_nlmsg_put_extra_header(header_, sizeof(T)));
  }
  nlmsghdr* get() { return header_; }
  void put(std::uint16_t type, const std::string& text) { mnl_attr_put_strz(header_, type, text.c_str()); }
  void put(std::uint16_t type, const net::IpAddr& ip) {
    mnl_attr_put(header_, type, ip.bytes().size(), ip.bytes().data());
  }
  void put(std::uint16_t type, const Mac& mac) { mnl_attr_put(header_, type, mac.size(), mac.data()); }
  void put_u32(std::uint16_t type, std::uint32_t value) { mnl_attr_put_u32(header_, type, value); }
  void put_u8(std::uint16_t type, std::uint8_t value) { mnl_attr_put_u8(header_, type, value); }
  nlattr* open(std::uint16_t type) { return mnl_attr_nest_start(header_, type); }
  void close(nlattr* nest) { mnl_attr_nest_end(header_, nest); }

 private:
  alignas(8) std::array<char, 4096> buffer_{};
  nlmsghdr* header_;
};

constexpr int operational = 6;  // IF_OPER_UP of <linux/if.h>, which does not go together with <net/if.h>
constexpr std::uint16_t create = NLM_F_CREATE | NLM_F_EXCL;

std::uint8_t family_number(net::Family family) {
  return family == net::Family::ipv4 ? AF_INET : AF_INET6;
}

netlink::Socket open_route_socket() {
  auto socket = netlink::Socket::open(NETLINK_ROUTE);
  if (!socket) throw std::runtime_error(socket.error().what());
  return std::move(*socket);
}

template <class Condition>
void wait_until(Condition holds, const std::string& otherwise) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!holds()) {
    if (std::chrono::steady_clock::now() > end) throw std::runtime_error(otherwise);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

int index_of(const std::string& name) {
  const unsigned index = if_nametoindex(name.c_str());
  if (index == 0) throw std::runtime_error("no link " + name);
  return static_cast<int>(index);
}

}  // namespace

Rtnl::Rtnl() : socket_(open_route_socket()) {}

void Rtnl::send(nlmsghdr* message, const std::string& what) {
  const auto ack = socket_.request(message);
  if (!ack) throw std::runtime_error(what + ": " + ack.error().what());
  if (ack->error != 0) throw std::runtime_error(what + ": " + netlink::describe(*ack));
}

void Rtnl::add_veth(const VethEnd& here, const VethEnd& peer, int peer_netns) {
  Message m(RTM_NEWLINK, create);
  m.extra<ifinfomsg>().ifi_index = here.index;
  m.put(IFLA_IFNAME, here.name);
  m.put(IFLA_ADDRESS, here.mac);
  nlattr* info = m.open(IFLA_LINKINFO);
  m.put(IFLA_INFO_KIND, "veth");
  nlattr* data = m.open(IFLA_INFO_DATA);
  nlattr* other = m.open(VETH_INFO_PEER);
  m.extra<ifinfomsg>().ifi_index = peer.index;
  m.put(IFLA_IFNAME, peer.name);
  m.put(IFLA_ADDRESS, peer.mac);
  m.put_u32(IFLA_NET_NS_FD, static_cast<std::uint32_t>(peer_netns));
  m.close(other);
  m.close(data);
  m.close(info);
  send(m.get(), "adding " + here.name);
}

void Rtnl::add_bridge(const std::string& name, const Mac& mac, bool calls_iptables) {
  Message m(RTM_NEWLINK, create);
  m.extra<ifinfomsg>().ifi_family = AF_UNSPEC;
  m.put(IFLA_IFNAME, name);
  m.put(IFLA_ADDRESS, mac);
  nlattr* info = m.open(IFLA_LINKINFO);
  m.put(IFLA_INFO_KIND, "bridge");
  nlattr* data = m.open(IFLA_INFO_DATA);
  m.put_u8(IFLA_BR_NF_CALL_IPTABLES, calls_iptables ? 1 : 0);
  m.put_u8(IFLA_BR_NF_CALL_IP6TABLES, calls_iptables ? 1 : 0);
  m.close(data);
  m.close(info);
  send(m.get(), "adding " + name);
}

void Rtnl::set_master(const std::string& name, const std::string& bridge, bool hairpin) {
  Message m(RTM_NEWLINK, 0);
  m.extra<ifinfomsg>().ifi_index = index_of(name);
  m.put_u32(IFLA_MASTER, static_cast<std::uint32_t>(index_of(bridge)));
  send(m.get(), "putting " + name + " into " + bridge);
  if (!hairpin) return;
  Message port(RTM_SETLINK, 0);
  auto& header = port.extra<ifinfomsg>();
  header.ifi_family = PF_BRIDGE;
  header.ifi_index = index_of(name);
  nlattr* nest = port.open(IFLA_PROTINFO | NLA_F_NESTED);
  port.put_u8(IFLA_BRPORT_MODE, 1);
  port.close(nest);
  send(port.get(), "hairpin of " + name);
}

void Rtnl::add_forwarding(const std::string& port, const Mac& mac) {
  Message m(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE);
  auto& header = m.extra<ndmsg>();
  header.ndm_family = PF_BRIDGE;
  header.ndm_ifindex = index_of(port);
  header.ndm_state = NUD_REACHABLE;
  header.ndm_flags = NTF_MASTER;
  m.put(NDA_LLADDR, mac);
  send(m.get(), "forwarding entry of " + port);
}

void Rtnl::set_up(const std::string& name) {
  Message m(RTM_NEWLINK, 0);
  auto& header = m.extra<ifinfomsg>();
  header.ifi_index = index_of(name);
  header.ifi_flags = IFF_UP;
  header.ifi_change = IFF_UP;
  send(m.get(), "raising " + name);
}

/// Not IFF_RUNNING: the kernel shows that while it does not know yet, too.
bool Rtnl::is_operational(const std::string& name) {
  Message m(RTM_GETLINK, 0);
  m.extra<ifinfomsg>().ifi_index = index_of(name);
  bool up = false;
  const auto asked = socket_.query(m.get(), [&](const nlmsghdr* answer) {
    netlink::for_each_attribute(netlink::attributes_of(answer, sizeof(ifinfomsg)), [&](const netlink::Attribute& a) {
      if (a.type == IFLA_OPERSTATE && a.value.size() == 1) up = std::to_integer<int>(a.value[0]) == operational;
    });
  });
  if (!asked) throw std::runtime_error(name + ": " + asked.error().what());
  return up;
}

bool Rtnl::is_local(const net::IpAddr& ip) {
  Message m(RTM_GETROUTE, 0);
  auto& header = m.extra<rtmsg>();
  header.rtm_family = family_number(ip.family());
  header.rtm_dst_len = ip.family() == net::Family::ipv4 ? 32 : 128;
  m.put(RTA_DST, ip);
  bool local = false;
  // Without any route there is an error for an answer, which is a no as well.
  std::ignore = socket_.query(m.get(), [&](const nlmsghdr* answer) {
    local = static_cast<const rtmsg*>(mnl_nlmsg_get_payload(answer))->rtm_type == RTN_LOCAL;
  });
  return local;
}

void Rtnl::wait_for_address(const net::IpAddr& ip) {
  wait_until([&] { return is_local(ip); }, "address " + ip.text() + " does not become local");
}

void Rtnl::wait_for_carrier(const std::string& name) {
  wait_until([&] { return is_operational(name); }, "no carrier on " + name);
  // The state comes a little before the queue; both change under the lock that this request waits for.
  set_up(name);
}

void Rtnl::remove_link(const std::string& name) {
  Message m(RTM_DELLINK, 0);
  m.extra<ifinfomsg>().ifi_index = index_of(name);
  send(m.get(), "removing " + name);
}

void Rtnl::add_address(const std::string& name, const net::IpAddr& ip, std::uint8_t length) {
  Message m(RTM_NEWADDR, create);
  auto& header = m.extra<ifaddrmsg>();
  header.ifa_family = family_number(ip.family());
  header.ifa_prefixlen = length;
  header.ifa_flags = IFA_F_NODAD;
  header.ifa_index = static_cast<std::uint32_t>(index_of(name));
  m.put(IFA_LOCAL, ip);
  if (ip.family() == net::Family::ipv4) m.put(IFA_ADDRESS, ip);
  send(m.get(), "address " + ip.text() + " of " + name);
}

void Rtnl::add_route(const Route& route) {
  Message m(RTM_NEWROUTE, create);
  auto& header = m.extra<rtmsg>();
  header.rtm_family = family_number(route.to.family());
  header.rtm_dst_len = route.to.length();
  header.rtm_table = RT_TABLE_MAIN;
  header.rtm_protocol = RTPROT_STATIC;
  header.rtm_type = route.local ? RTN_LOCAL : RTN_UNICAST;
  header.rtm_scope = RT_SCOPE_UNIVERSE;
  if (route.local) {
    header.rtm_scope = RT_SCOPE_HOST;
  } else if (!route.gateway) {
    header.rtm_scope = RT_SCOPE_LINK;
  }
  if (route.gateway) header.rtm_flags = RTNH_F_ONLINK;
  if (route.to.length() > 0) m.put(RTA_DST, route.to.base());
  if (route.gateway) m.put(RTA_GATEWAY, *route.gateway);
  if (route.source) m.put(RTA_PREFSRC, *route.source);
  m.put_u32(RTA_OIF, static_cast<std::uint32_t>(index_of(route.device)));
  send(m.get(), "route to " + route.to.text() + " by " + route.device);
}

void Rtnl::add_neighbour(const std::string& name, const net::IpAddr& ip, const Mac& mac) {
  Message m(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE);
  auto& header = m.extra<ndmsg>();
  header.ndm_family = family_number(ip.family());
  header.ndm_ifindex = index_of(name);
  header.ndm_state = NUD_PERMANENT;
  m.put(NDA_DST, ip);
  m.put(NDA_LLADDR, mac);
  send(m.get(), "neighbour " + ip.text() + " at " + name);
}

void Rtnl::remove_neighbour(const std::string& name, const net::IpAddr& ip) {
  Message m(RTM_DELNEIGH, 0);
  auto& header = m.extra<ndmsg>();
  header.ndm_family = family_number(ip.family());
  header.ndm_ifindex = index_of(name);
  m.put(NDA_DST, ip);
  send(m.get(), "removing neighbour " + ip.text() + " at " + name);
}

net::Cidr everything_of(net::Family family) {
  return net::Cidr::around(family == net::Family::ipv4 ? net::IpAddr() : net::IpAddr::v6({}), 0);
}

net::Cidr only(const net::IpAddr& ip) {
  return net::Cidr::around(ip, ip.family() == net::Family::ipv4 ? 32 : 128);
}

void set_sysctl(const std::string& path, const std::string& value) {
  std::ofstream file("/proc/sys/" + path);
  file << value << std::flush;
  if (!file) throw std::runtime_error("cannot write " + value + " to /proc/sys/" + path);
}

}  // namespace podfence::test
