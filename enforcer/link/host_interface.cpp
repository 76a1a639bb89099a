#include "enforcer/link/host_interface.h"

#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <map>
#include <optional>
#include <unordered_map>

#include "enforcer/netlink/attribute.h"
#include "enforcer/netlink/socket.h"

namespace podfence::link {
namespace {

using netlink::Attribute;
using Mac = std::array<std::uint8_t, 6>;

struct Link {
  std::string name;
  std::string kind;
  std::uint32_t master = 0;
  bool peer_elsewhere = false;  // IFLA_LINK_NETNSID: the other end is in another network namespace

  bool counts() const { return peer_elsewhere && (kind == "veth" || kind == "netkit"); }
};

/// What the kernel knows, as far as it is needed here.
struct Picture {
  std::map<std::uint32_t, Link> links;
  std::unordered_map<net::IpAddr, std::uint32_t, net::IpAddrHash> host_routes;                 // address -> device
  std::unordered_map<net::IpAddr, std::pair<std::uint32_t, Mac>, net::IpAddrHash> neighbours;  // address -> device, MAC
  std::map<std::pair<std::uint32_t, Mac>, std::uint32_t> bridge_ports;                         // bridge, MAC -> port
};

/// A number in host order.
std::uint32_t number(const Attribute& a) {
  std::uint32_t value = 0;
  if (a.value.size() == sizeof(value)) std::memcpy(&value, a.value.data(), sizeof(value));
  return value;
}

std::optional<Mac> mac(const Attribute& a) {
  Mac bytes{};
  if (a.value.size() != bytes.size()) return std::nullopt;
  std::memcpy(bytes.data(), a.value.data(), bytes.size());
  return bytes;
}

/// The family's own header of a message, when there is a whole one.
template <class Header>
std::optional<Header> header_of(const nlmsghdr* message) {
  return Cursor(netlink::bytes_of(message).subspan(sizeof(nlmsghdr))).take_as<Header>();
}

void read_link(const nlmsghdr* message, Picture& picture) {
  const auto header = header_of<ifinfomsg>(message);
  if (!header) return;
  auto& link = picture.links[static_cast<std::uint32_t>(header->ifi_index)];
  netlink::for_each_attribute(netlink::attributes_of(message, sizeof(ifinfomsg)), [&](const Attribute& a) {
    switch (a.type) {
      case IFLA_IFNAME:
        link.name = a.text();
        break;
      case IFLA_MASTER:
        link.master = number(a);
        break;
      case IFLA_LINK_NETNSID:
        link.peer_elsewhere = true;
        break;
      case IFLA_LINKINFO:
        netlink::for_each_attribute(a.value, [&](const Attribute& info) {
          if (info.type == IFLA_INFO_KIND) link.kind = info.text();
        });
        break;
      default:
        break;
    }
  });
}

void read_route(const nlmsghdr* message, Picture& picture) {
  const auto header = header_of<rtmsg>(message);
  if (!header || header->rtm_type != RTN_UNICAST) return;
  const std::size_t whole = header->rtm_family == AF_INET ? 32 : 128;
  if (header->rtm_dst_len != whole) return;
  std::optional<net::IpAddr> destination;
  std::uint32_t device = 0;
  netlink::for_each_attribute(netlink::attributes_of(message, sizeof(rtmsg)), [&](const Attribute& a) {
    if (a.type == RTA_DST) destination = net::IpAddr::from_bytes(a.value);
    if (a.type == RTA_OIF) device = number(a);
  });
  if (destination && device != 0) picture.host_routes.emplace(*destination, device);
}

void read_neighbour(const nlmsghdr* message, Picture& picture) {
  const auto header = header_of<ndmsg>(message);
  if (!header) return;
  const auto device = static_cast<std::uint32_t>(header->ndm_ifindex);
  std::optional<net::IpAddr> address;
  std::optional<Mac> hardware;
  std::uint32_t master = 0;
  netlink::for_each_attribute(netlink::attributes_of(message, sizeof(ndmsg)), [&](const Attribute& a) {
    if (a.type == NDA_DST) address = net::IpAddr::from_bytes(a.value);
    if (a.type == NDA_LLADDR) hardware = mac(a);
    if (a.type == NDA_MASTER) master = number(a);
  });
  if (!hardware) return;
  if (header->ndm_family == AF_BRIDGE) {
    if (master != 0) picture.bridge_ports.emplace(std::pair(master, *hardware), device);
  } else if (address) {
    picture.neighbours.emplace(*address, std::pair(device, *hardware));
  }
}

template <class Header>
Result<> dump(netlink::Socket& socket, std::uint16_t type, std::uint8_t family, void (*read)(const nlmsghdr*, Picture&),
              Picture& picture) {
  constexpr int most_attempts = 5;
  for (int attempt = 1;; ++attempt) {
    alignas(nlmsghdr) std::array<char, 256> buffer{};
    nlmsghdr* message = mnl_nlmsg_put_header(buffer.data());
    message->nlmsg_type = type;
    message->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    const Header header{};
    auto* extra = static_cast<Header*>(mnl_nlmsg_put_extra_header(message, sizeof(Header)));
    *extra = header;
    std::memcpy(extra, &family, sizeof(family));  // the first byte of each of these headers is the family
    auto done = socket.dump(message, [&](const nlmsghdr* answer) { read(answer, picture); });
    if (done || done.error().code() != Errc::busy || attempt == most_attempts) return done;
  }
}

Result<Picture> look() {
  auto socket = netlink::Socket::open(NETLINK_ROUTE);
  if (!socket) return fail(socket.error());
  Picture picture;
  auto done = dump<ifinfomsg>(*socket, RTM_GETLINK, AF_UNSPEC, read_link, picture);
  for (const std::uint8_t family : {std::uint8_t{AF_INET}, std::uint8_t{AF_INET6}}) {
    if (done) done = dump<rtmsg>(*socket, RTM_GETROUTE, family, read_route, picture);
    if (done) done = dump<ndmsg>(*socket, RTM_GETNEIGH, family, read_neighbour, picture);
  }
  // The forwarding database of bridges is dumped by a link message whose family is AF_BRIDGE.
  if (done) done = dump<ifinfomsg>(*socket, RTM_GETNEIGH, AF_BRIDGE, read_neighbour, picture);
  if (!done) return fail(std::move(done.error()).in("looking for host interfaces"));
  return picture;
}

std::optional<std::uint32_t> device_of(const Picture& picture, const net::IpAddr& address) {
  if (const auto route = picture.host_routes.find(address); route != picture.host_routes.end()) return route->second;
  const auto neighbour = picture.neighbours.find(address);
  if (neighbour == picture.neighbours.end()) return std::nullopt;
  const auto port = picture.bridge_ports.find(neighbour->second);
  if (port == picture.bridge_ports.end()) return std::nullopt;
  return port->second;
}

}  // namespace

Result<std::vector<HostInterface>> find_host_interfaces(std::span<const net::IpAddr> pod_addresses) {
  const auto picture = look();
  if (!picture) return fail(picture.error());
  std::vector<HostInterface> found;
  for (const auto& address : pod_addresses) {
    const auto device = device_of(*picture, address);
    if (!device) continue;
    const auto link = picture->links.find(*device);
    if (link == picture->links.end() || !link->second.counts()) continue;
    found.push_back({address, *device, link->second.name});
  }
  return found;
}

}  // namespace podfence::link
