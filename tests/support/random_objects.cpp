#include "tests/support/random_objects.h"

#include <algorithm>

#include "tests/support/builders.h"

namespace podfence::test {
namespace {

const std::vector<std::string> namespace_names{"a", "b", "c", "d"};
const std::vector<std::string> keys{"app", "tier"};
const std::vector<std::string> values{"web", "db", ""};
const std::vector<std::string> teams{"red", "blue"};
const std::vector<std::string> port_names{"http", "dns"};
const std::vector<std::uint16_t> numbers{1, 53, 80, 81, 443, 8080, 65535};

std::string number_text(std::size_t number) {
  return std::to_string(number);
}

void insert_sorted(api::Labels& labels, const std::string& key, const std::string& value) {
  auto& all = labels.edit();
  all.emplace_back(key, value);
  std::sort(all.begin(), all.end());
}

}  // namespace

api::Object RandomObjects::namespace_(std::size_t index) {
  NamespaceBuilder made(namespace_names[index % namespace_names.size()]);
  if (chance(70)) made.label("team", one_of(teams));
  return made;
}

api::Object RandomObjects::node(std::size_t index) {
  const std::string n = number_text(index + 1);
  NodeBuilder made("n" + n);
  made.ip("192.168.0." + n);
  if (chance(60)) made.ip("fd00:99::" + n);
  if (chance(5)) made.ip("10.0." + n + ".3");  // an address that a pod may claim too
  if (chance(60)) made.pod_cidr("10.0." + n + (chance(50) ? ".0/28" : ".0/30"));
  if (chance(50)) made.pod_cidr("fd00:" + n + (chance(50) ? "::/124" : "::/126"));
  return made;
}

std::vector<net::IpAddr> RandomObjects::pod_addresses(std::size_t node) {
  std::vector<net::IpAddr> addresses;
  const std::string n = number_text(node + 1);
  const std::size_t families = upto(9);  // 0-4 both, 5-7 IPv4, 8 IPv6, 9 none yet
  const std::string host = number_text(1 + upto(5));
  if (families <= 7) addresses.push_back(ip("10.0." + n + "." + host));
  if (families <= 4 || families == 8) addresses.push_back(ip("fd00:" + n + "::" + host));
  if (addresses.size() == 2 && chance(20)) std::swap(addresses[0], addresses[1]);
  return addresses;
}

api::ContainerPort RandomObjects::named_port() {
  const std::string& name = one_of(port_names);
  return {name, chance(60) ? net::tcp : protocol(), net::Port{one_of(numbers)}};
}

api::Object RandomObjects::pod(std::size_t index) {
  // The name tells the namespace, so that the same index is the same pod.
  api::Pod made = PodBuilder("p" + number_text(index)).ns(namespace_names[index % 3]).object();
  const std::size_t node = chance(60) ? 0 : upto(2);
  made.node = "n" + number_text(node + 1);
  made.meta.uid = "u" + number_text(upto(99));
  made.meta.created = static_cast<std::int64_t>(upto(4));
  made.meta.terminating = chance(10);
  made.host_network = chance(6);
  made.ips = pod_addresses(node);
  if (made.host_network) made.ips = {ip("192.168.0." + number_text(node + 1))};
  constexpr std::array<api::Phase, 5> rare{api::Phase::pending, api::Phase::pending, api::Phase::succeeded,
                                           api::Phase::failed, api::Phase::unknown};
  made.phase = chance(75) ? api::Phase::running : rare[upto(rare.size() - 1)];
  for (const std::string& key : keys) {
    if (chance(70)) insert_sorted(made.meta.labels, key, one_of(values));
  }
  for (std::size_t i = upto(2); i > 0; --i) made.named_ports.edit().push_back(named_port());
  return made;
}

api::Requirement RandomObjects::requirement() {
  constexpr std::array<api::Operator, 5> operators{api::Operator::in, api::Operator::in, api::Operator::not_in,
                                                   api::Operator::exists, api::Operator::does_not_exist};
  const api::Operator op = operators[upto(operators.size() - 1)];
  std::vector<std::string> listed;
  if (op == api::Operator::in || op == api::Operator::not_in) {
    for (std::size_t i = 1 + upto(1); i > 0; --i) listed.push_back(one_of(values));
  }
  return test::requirement(one_of(keys), op, std::move(listed));
}

api::LabelSelector RandomObjects::selector() {
  std::vector<api::Requirement> requirements;
  for (std::size_t i = upto(5) < 2 ? 0 : 1 + upto(1); i > 0; --i) requirements.push_back(requirement());
  api::LabelSelector made = expressions(std::move(requirements));
  made.invalid = chance(2);
  return made;
}

api::Peer RandomObjects::block() {
  static const std::vector<std::string> blocks{
      "0.0.0.0/0",     "0.0.0.0/0",    "10.0.0.0/16",        "10.0.1.0/29",    "10.0.1.2/31",
      "10.0.1.3/32",   "10.0.2.0/30",  "203.0.113.0/24",     "203.0.113.4/31", "128.0.0.0/1",
      "::/0",          "fd00::/16",    "fd00:1::/125",       "fd00:1::2/127",  "fd00:1::4/128",
      "2001:db8::/32", "fd00:2::/126", "255.255.255.255/32", "192.168.0.2/31", "ffff:ffff::/32"};
  api::IpBlock made{cidr(one_of(blocks)), {}};
  const auto bits = static_cast<std::uint8_t>(net::address_size(made.cidr.family()) * 8);
  for (std::size_t i = upto(2); i > 0; --i) {
    const net::Cidr inner = cidr(one_of(blocks));
    if (inner.family() == made.cidr.family() && made.cidr.contains(inner) && inner.length() > made.cidr.length()) {
      made.except.push_back(inner);
    } else if (made.cidr.length() < bits) {
      const auto deeper = static_cast<std::uint8_t>(made.cidr.length() + 1 + upto(bits - made.cidr.length() - 1));
      made.except.push_back(net::Cidr::around(made.cidr.base(), deeper));
    }
  }
  std::sort(made.except.begin(), made.except.end());
  made.except.erase(std::unique(made.except.begin(), made.except.end()), made.except.end());
  return made;
}

api::Peer RandomObjects::peer() {
  if (chance(2)) return api::Nothing{"of a test"};
  if (chance(35)) return block();
  api::PodPeer made{std::nullopt, selector()};
  if (chance(60)) {
    const std::size_t kind = upto(5);
    if (kind < 2) {
      made.namespaces = everything();
    } else if (kind == 2) {
      made.namespaces = labels({{"kubernetes.io/metadata.name", one_of(namespace_names)}});
    } else {
      made.namespaces = expressions(
          {test::requirement("team", kind == 3 ? api::Operator::in : api::Operator::not_in, {one_of(teams)})});
    }
    if (chance(40)) made.pods = everything();
  }
  return made;
}

net::Protocol RandomObjects::protocol() {
  constexpr std::array<net::Protocol, 4> pool{net::tcp, net::tcp, net::udp, net::sctp};
  return pool[upto(pool.size() - 1)];
}

api::PortSpec RandomObjects::port() {
  api::PortSpec made;
  made.protocol = protocol();
  const std::uint16_t first = one_of(numbers);
  switch (upto(9)) {
    case 0:
      made.whole_protocol = true;
      made.port = net::every_port;
      break;
    case 1:
    case 2:
    case 3:
      made.port = one_of(port_names);
      break;
    case 4:
      made.port = net::PortRange{net::Port{first}, net::Port{std::max(first, one_of(numbers))}};
      break;
    case 5:
      made.port = net::PortRange{net::Port{first},
                                 net::Port{static_cast<std::uint16_t>(std::min<std::size_t>(65535, first + upto(80)))}};
      break;
    case 6:
      made.port = chance(20) ? decltype(made.port)(api::Nothing{"of a test"}) : net::every_port;
      break;
    default:
      made.port = net::PortRange{net::Port{first}, net::Port{first}};
  }
  return made;
}

api::PolicyRule RandomObjects::rule() {
  api::PolicyRule made;
  made.any_peer = chance(20);
  if (!made.any_peer) {
    for (std::size_t i = 1 + upto(1); i > 0; --i) made.peers.push_back(peer());
  }
  made.any_port = chance(25);
  if (!made.any_port) {
    for (std::size_t i = 1 + upto(1); i > 0; --i) made.ports.push_back(port());
  }
  return made;
}

api::Object RandomObjects::policy(std::size_t index) {
  api::NetworkPolicy made = PolicyBuilder("np" + number_text(index)).ns(namespace_names[index % 3]).object();
  made.meta.uid = "u" + number_text(upto(99));
  made.pod_selector = selector();
  const std::size_t types = upto(4);  // 0-1 ingress, 2-3 both, 4 egress
  made.isolates_ingress = types <= 3;
  made.isolates_egress = types >= 2;
  for (std::size_t i = made.isolates_ingress ? upto(2) : 0; i > 0; --i) made.ingress.push_back(rule());
  for (std::size_t i = made.isolates_egress ? upto(2) : 0; i > 0; --i) made.egress.push_back(rule());
  return made;
}

}  // namespace podfence::test
