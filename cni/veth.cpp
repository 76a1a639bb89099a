#include "cni/veth.h"

#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/magic.h>
#include <linux/net_namespace.h>
#include <linux/nsfs.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "cni/netlink.h"
#include "policy/base/cursor.h"

namespace podfence::cni {
namespace {

constexpr const char* own_netns_path = "/proc/thread-self/ns/net";

struct Link {
  std::string name;
  std::uint32_t index = 0;
  std::string kind;
  std::optional<std::uint32_t> peer;
  std::optional<std::uint32_t> peer_netns;  // its number in the namespace of the link
  std::uint32_t master = 0;
  Attributes data;  // of the kind; lies in bytes
  std::vector<std::byte> bytes;
};

Failure kernel_failed(const std::string& what, const Error& error) {
  return {Code::try_again, what, error.what()};
}

Result<Link> ask_link(Netlink& netlink, Message& question) {
  auto answer = netlink.ask({question});
  if (!answer) return fail(answer.error());
  Link link;
  link.bytes = std::move(*answer);
  Cursor cursor(link.bytes);
  const auto start = cursor.take_as<ifinfomsg>();
  if (!start) return fail(Errc::io, "the kernel's answer is too short");
  const Attributes attributes = attributes_in(cursor.rest());
  link.index = static_cast<std::uint32_t>(start->ifi_index);
  link.name = text_at(attributes, IFLA_IFNAME);
  link.peer = number_at(attributes, IFLA_LINK);
  link.peer_netns = number_at(attributes, IFLA_LINK_NETNSID);
  link.master = number_at(attributes, IFLA_MASTER).value_or(0);
  const Attributes info = nested_at(attributes, IFLA_LINKINFO);
  link.kind = text_at(info, IFLA_INFO_KIND);
  link.data = nested_at(info, IFLA_INFO_DATA);
  return link;
}

Result<Link> link_by_name(Netlink& netlink, const std::string& name) {
  Message question(RTM_GETLINK, 0);
  question.header(ifinfomsg{}).text(IFLA_IFNAME, name);
  return ask_link(netlink, question);
}

Result<Link> link_by_index(Netlink& netlink, std::uint32_t index) {
  Message question(RTM_GETLINK, 0);
  ifinfomsg start{};
  start.ifi_index = static_cast<int>(index);
  question.header(start);
  return ask_link(netlink, question);
}

/// The number by which the socket's namespace knows another one; nothing while it has none for it.
std::optional<std::uint32_t> number_of(Netlink& netlink, const Descriptor& netns) {
  Message question(RTM_GETNSID, 0);
  question.header(rtgenmsg{AF_UNSPEC}).attribute(NETNSA_FD, netns.get());
  const auto answer = netlink.ask({question});
  if (!answer) return std::nullopt;
  Cursor cursor(*answer);
  if (!cursor.take(NLMSG_ALIGN(sizeof(rtgenmsg)))) return std::nullopt;
  const auto number = number_at(attributes_in(cursor.rest()), NETNSA_NSID);
  return number == static_cast<std::uint32_t>(NETNSA_NSID_NOT_ASSIGNED) ? std::nullopt : number;
}

Outcome<Descriptor> open_netns(const std::string& path) {
  Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));  // a FIFO must not stop us
  if (!fd) return refuse(Code::invalid_netns, "cannot open the network namespace " + path, std::strerror(errno));
  struct statfs system {};
  const bool is_netns = ::fstatfs(fd.get(), &system) == 0 && system.f_type == NSFS_MAGIC &&
                        ::ioctl(fd.get(), NS_GET_NSTYPE) == CLONE_NEWNET;
  if (!is_netns) return refuse(Code::invalid_netns, "not a network namespace: " + path);
  return fd;
}

Outcome<bool> is_same(const Descriptor& one, const Descriptor& other) {
  struct stat first {};
  struct stat second {};
  if (::fstat(one.get(), &first) != 0 || ::fstat(other.get(), &second) != 0) {
    return refuse(Code::try_again, "cannot compare network namespaces", std::strerror(errno));
  }
  return first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

/// Only the socket is made over there: it stays there, and we are back before anything is asked.
Outcome<Netlink> open_netlink_in(const Descriptor& netns, const Descriptor& home) {
  if (::setns(netns.get(), CLONE_NEWNET) != 0) {
    return refuse(Code::try_again, "cannot enter the pod's network namespace", std::strerror(errno));
  }
  auto netlink = Netlink::open(NETLINK_ROUTE);
  if (::setns(home.get(), CLONE_NEWNET) != 0) std::abort();  // nothing may be done to the node from in there
  if (!netlink) return refuse(kernel_failed("no netlink socket in the pod's network namespace", netlink.error()));
  return std::move(*netlink);
}

bool comes_in_pairs(const std::string& kind) {
  return kind == "veth" || kind == "netkit";
}

Failure wrong_kind(const Link& link) {
  const std::string kind = link.kind.empty() ? "a device of its own" : "of kind " + link.kind;
  return {Code::invalid_config, "podfence cannot guard " + link.name + ": it is " + kind + ", not a veth pair",
          "packets of such an interface do not pass the node's rules; use a CNI plugin like bridge or ptp, or take "
          "podfence-cni out of this chain"};
}

/// What the pod's end and the host's end have to say of each other.
Outcome<Link> other_end(Netlink& inside, Netlink& outside, const Link& pod, const Descriptor& netns,
                        const Descriptor& home, bool same) {
  const Failure astray(Code::invalid_config,
                       "the host's end of " + pod.name + " is not in the runtime's network namespace",
                       "podfence guards pods that are connected to the node itself");
  if (!pod.peer || (!same && pod.peer_netns != number_of(inside, home))) return refuse(astray);
  if (!same && !pod.peer_netns) return refuse(astray);
  auto host = link_by_index(outside, *pod.peer);
  if (!host) return refuse(kernel_failed("cannot find the host's end of " + pod.name, host.error()));
  if (!comes_in_pairs(host->kind)) return refuse(wrong_kind(*host));
  const bool back = host->peer == pod.index && (same || host->peer_netns == number_of(outside, netns));
  if (!back) return refuse(astray);
  return std::move(*host);
}

Outcome<> find_master(Netlink& netlink, const Link& host, Veth& veth) {
  if (host.master == 0) return {};
  const auto master = link_by_index(netlink, host.master);
  if (!master) return refuse(kernel_failed("cannot read the master of " + host.name, master.error()));
  if (master->kind == "vrf") return {};  // routed
  if (master->kind != "bridge") {
    return refuse(
        Code::invalid_config,
        "podfence cannot guard " + host.name + ": it is a port of " + master->name + ", of kind " + master->kind,
        "packets that such a switch forwards do not pass the node's rules");
  }
  veth.bridge = master->name;
  veth.bridge_index = master->index;
  return {};
}

struct Switches {
  bool ipv4 = false;
  bool ipv6 = false;
};

Outcome<Switches> read_switches(Netlink& netlink, const Veth& veth) {
  const auto bridge = link_by_index(netlink, veth.bridge_index);
  if (!bridge) return refuse(kernel_failed("cannot read bridge " + veth.bridge, bridge.error()));
  return Switches{byte_at(bridge->data, IFLA_BR_NF_CALL_IPTABLES).value_or(0) != 0,
                  byte_at(bridge->data, IFLA_BR_NF_CALL_IP6TABLES).value_or(0) != 0};
}

Result<void> set_switches(Netlink& netlink, const Veth& veth) {
  Message command(RTM_NEWLINK, NLM_F_ACK);
  ifinfomsg start{};
  start.ifi_index = static_cast<int>(veth.bridge_index);
  command.header(start).begin(IFLA_LINKINFO).text(IFLA_INFO_KIND, "bridge").begin(IFLA_INFO_DATA);
  command.attribute(IFLA_BR_NF_CALL_IPTABLES, std::uint8_t{1}).attribute(IFLA_BR_NF_CALL_IP6TABLES, std::uint8_t{1});
  command.end().end();
  auto done = netlink.ask({command});
  if (!done) return fail(done.error());
  return {};
}

/// The switch of all bridges of this network namespace; it exists only while br_netfilter is there.
std::optional<bool> global_switch(const char* name) {
  const std::string path = std::string("/proc/sys/net/bridge/") + name;
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char value = '0';
  if (!fd || ::read(fd.get(), &value, 1) != 1) return std::nullopt;
  return value != '0';
}

Outcome<> check_filter_exists(const Veth& veth) {
  if (global_switch("bridge-nf-call-iptables") && global_switch("bridge-nf-call-ip6tables")) return {};
  return refuse(
      Code::invalid_config,
      "podfence cannot guard pods on bridge " + veth.bridge + ": the kernel module br_netfilter is not loaded",
      "without it packets between pods of one bridge pass no rule; on the node: modprobe br_netfilter, and a "
      "file in /etc/modules-load.d for the next boot");
}

}  // namespace

Outcome<Veth> find_veth_of(const std::string& netns, const std::string& ifname, bool own_netns_allowed) {
  const auto home = open_netns(own_netns_path);
  if (!home) return refuse(home.error());
  const auto there = open_netns(netns);
  if (!there) return refuse(there.error());
  const auto same = is_same(*home, *there);
  if (!same) return refuse(same.error());
  if (*same && !own_netns_allowed) {
    return refuse(Code::invalid_netns, "plugin's netns and netns from CNI_NETNS should not be the same", netns);
  }
  auto inside = open_netlink_in(*there, *home);
  if (!inside) return refuse(inside.error());
  auto outside = Netlink::open(NETLINK_ROUTE);
  if (!outside) return refuse(kernel_failed("no netlink socket", outside.error()));
  const auto pod = link_by_name(*inside, ifname);
  if (!pod) {
    return refuse(Code::invalid_config, "the pod has no interface " + ifname + " in " + netns, pod.error().what());
  }
  if (!comes_in_pairs(pod->kind)) return refuse(wrong_kind(*pod));
  const auto host = other_end(*inside, *outside, *pod, *there, *home, *same);
  if (!host) return refuse(host.error());
  Veth veth{host->name, host->index, {}, 0};
  if (auto found = find_master(*outside, *host, veth); !found) return refuse(found.error());
  return veth;
}

Outcome<> filter_bridge_of(const Veth& veth) {
  if (veth.bridge.empty()) return {};
  if (auto exists = check_filter_exists(veth); !exists) return exists;
  auto netlink = Netlink::open(NETLINK_ROUTE);
  if (!netlink) return refuse(kernel_failed("no netlink socket", netlink.error()));
  auto now = read_switches(*netlink, veth);
  if (!now) return refuse(now.error());
  if (now->ipv4 && now->ipv6) return {};
  if (auto set = set_switches(*netlink, veth); !set) {
    return refuse(kernel_failed("cannot make bridge " + veth.bridge + " call iptables", set.error()));
  }
  now = read_switches(*netlink, veth);
  if (!now) return refuse(now.error());
  if (now->ipv4 && now->ipv6) return {};
  return refuse(Code::invalid_config, "bridge " + veth.bridge + " does not take nf_call_iptables",
                "the kernel accepts the setting and does not have it afterwards");
}

Outcome<> check_bridge_of(const Veth& veth) {
  if (veth.bridge.empty()) return {};
  if (auto exists = check_filter_exists(veth); !exists) return exists;
  auto netlink = Netlink::open(NETLINK_ROUTE);
  if (!netlink) return refuse(kernel_failed("no netlink socket", netlink.error()));
  const auto now = read_switches(*netlink, veth);
  if (!now) return refuse(now.error());
  const bool ipv4 = now->ipv4 || global_switch("bridge-nf-call-iptables").value_or(false);
  const bool ipv6 = now->ipv6 || global_switch("bridge-nf-call-ip6tables").value_or(false);
  if (ipv4 && ipv6) return {};
  return refuse(Code::try_again, "somebody switched nf_call_iptables of bridge " + veth.bridge + " off",
                "packets between its pods pass no rule now; ip link set " + veth.bridge +
                    " type bridge nf_call_iptables 1 nf_call_ip6tables 1");
}

}  // namespace podfence::cni
