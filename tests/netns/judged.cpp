#include "tests/netns/judged.h"

#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <sstream>
#include <stdexcept>

#include "enforcer/kernel/nft_kernel.h"
#include "policy/diff/diff.h"
#include "policy/program/print.h"
#include "tests/netns/prober.h"
#include "tests/support/netns.h"

namespace podfence::test {
namespace {

bool is_host(const net::IpAddr& ip) {
  const auto first = ip.bytes()[0];
  if (ip.family() == net::Family::ipv6) return first != 0xff && first != 0xfe && first != 0;
  return first != 0 && first != 127 && first < 224;
}

/// nft sorts the elements of a set with port ranges by memory that it does not mean to compare: any order is right.
std::string with_sorted_elements(const std::string& text) {
  constexpr std::string_view begin = "elements = { ";
  std::string sorted;
  std::size_t at = 0;
  for (;;) {
    const auto open = text.find(begin, at);
    if (open == std::string::npos) return sorted + text.substr(at);
    const auto close = text.find(" }", open);
    std::istringstream inside(text.substr(open + begin.size(), close - open - begin.size()));
    std::vector<std::string> elements;
    for (std::string element; std::getline(inside, element, ',');) {
      elements.push_back(element.substr(std::min(element.find_first_not_of(" \n\t"), element.size())));
    }
    std::sort(elements.begin(), elements.end());
    sorted += text.substr(at, open + begin.size() - at);
    for (const auto& element : elements) sorted += element + "\n";
    at = close;
  }
}

std::string first_difference(const std::string& listed, const std::string& printed) {
  std::istringstream left(listed);
  std::istringstream right(printed);
  std::string a;
  std::string b;
  do {
    a = std::getline(left, a) ? a : "the end";
    b = std::getline(right, b) ? b : "the end";
  } while (a == b);
  return "nft lists\n" + a + "\nand the program is printed as\n" + b;
}

/// To conntrack, both directions of a protocol without ports or ids between two hosts are one connection. Of such
/// flows, one direction is asked for after the other has been forgotten.
bool answers_another(const net::Flow& flow) {
  const bool apart = net::has_ports(flow.protocol) || flow.protocol == net::icmp || flow.protocol == net::icmpv6;
  return !apart && flow.destination < flow.source;
}

}  // namespace

TopologySpec topology_spec(const store::Cluster& cluster, const std::string& node,
                           const std::vector<net::Flow>& flows) {
  TopologySpec spec;
  const auto* own = cluster.find_node(node);
  if (own != nullptr) spec.node = own->addresses;
  std::vector<net::IpAddr> placed = spec.node;
  const auto is_new = [&](const net::IpAddr& ip) {
    const bool there = std::find(placed.begin(), placed.end(), ip) != placed.end();
    if (!there && is_host(ip)) placed.push_back(ip);
    return !there && is_host(ip);
  };
  for (const auto& [key, pod] : cluster.pods()) {
    if (pod.node != node || pod.host_network) continue;
    std::vector<net::IpAddr> addresses;
    for (const auto& ip : pod.ips) {
      if (cluster.node_by_ip(ip) == nullptr && is_new(ip)) addresses.push_back(ip);
    }
    if (!addresses.empty()) spec.pods.push_back(addresses);
  }
  for (const auto& flow : flows) {
    for (const auto& ip : {flow.source, flow.destination}) {
      if (own == nullptr || cluster.node_by_ip(ip) != nullptr) continue;
      const bool in_range = std::any_of(own->pod_cidrs.begin(), own->pod_cidrs.end(),
                                        [&](const net::Cidr& block) { return block.contains(ip); });
      if (in_range && cluster.pod_by_ip(ip) == nullptr && is_new(ip)) spec.pods.push_back({ip});
    }
  }
  return spec;
}

bool on_the_wire(const Topology& topology, const net::Flow& flow) {
  if (flow.source.family() != flow.destination.family()) return false;
  if (!is_host(flow.source) || !is_host(flow.destination)) return false;
  return topology.place_of(flow.source) != topology.place_of(flow.destination);
}

void load(const program::Program& program, Loader loader) {
  if (loader == Loader::text) {
    const auto done = run_with_input("nft -f -", "flush ruleset\n" + program::print(program));
    if (done.status != 0) throw std::runtime_error("nft -f: " + done.output);
    return;
  }
  auto kernel = kernel::NftKernel::open();
  if (!kernel) throw std::runtime_error(kernel.error().what());
  const auto done = (*kernel)->commit(diff::install_of(program));
  if (!done) throw std::runtime_error(done.error().error.what());
}

void flush_conntrack() {
  auto socket = netlink::Socket::open(NETLINK_NETFILTER);
  if (!socket) throw std::runtime_error(socket.error().what());
  alignas(8) std::array<char, 64> buffer{};
  nlmsghdr* message = mnl_nlmsg_put_header(buffer.data());
  message->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8U | IPCTNL_MSG_CT_DELETE;
  static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(message, sizeof(nfgenmsg)))->nfgen_family = AF_UNSPEC;
  const auto ack = socket->request(message);
  if (!ack || ack->error != 0) throw std::runtime_error("cannot flush conntrack");
}

void* shared_memory(std::size_t size) {
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::runtime_error("no shared memory");
  return memory;
}

std::vector<std::optional<WireVerdict>> on_real_packets(const TopologySpec& spec, const program::Program& program,
                                                        const std::vector<net::Flow>& flows,
                                                        const std::vector<bool>& expected) {
  const Topology topology(spec);
  load(program);
  const auto listed = with_sorted_elements(run("nft list table inet podfence").output);
  const auto printed = with_sorted_elements(program::print(program));
  if (listed != printed) throw std::runtime_error(first_difference(listed, printed));
  Prober prober(topology);
  std::vector<std::optional<WireVerdict>> verdicts(flows.size());
  for (const bool backwards : {false, true}) {
    std::vector<Probe> probes;
    std::vector<std::size_t> asked;
    for (std::size_t i = 0; i < flows.size(); ++i) {
      if (!on_the_wire(topology, flows[i]) || answers_another(flows[i]) != backwards) continue;
      Probe probe;
      probe.flow = flows[i];
      probe.expected = expected[i];
      probes.push_back(probe);
      asked.push_back(i);
    }
    if (probes.empty()) continue;
    const auto outcomes = prober.run(probes);
    for (std::size_t i = 0; i < asked.size(); ++i) {
      const bool there = outcomes[i].arrived == topology.place_of(probes[i].flow.destination);
      verdicts[asked[i]] = WireVerdict{there, outcomes[i].answered};
    }
    flush_conntrack();
  }
  return verdicts;
}

}  // namespace podfence::test
