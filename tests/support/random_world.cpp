#include "tests/support/random_world.h"

#include <algorithm>
#include <cstdlib>
#include <set>

#include "tests/support/builders.h"
#include "tests/support/random_objects.h"

namespace podfence::test {
namespace {

using net::Family;

constexpr std::size_t most_pods = 8;
constexpr std::size_t most_policies = 6;

bool is_kind(const api::Object& object, api::Kind kind) {
  return api::key_of(object).kind == kind;
}

std::size_t count_of(const World& world, api::Kind kind) {
  return static_cast<std::size_t>(std::count_if(world.objects.begin(), world.objects.end(),
                                                [&](const api::Object& object) { return is_kind(object, kind); }));
}

/// Replaces the object of the same key, or adds it.
void put(World& world, api::Object object) {
  for (api::Object& old : world.objects) {
    if (api::key_of(old) == api::key_of(object)) {
      old = std::move(object);
      return;
    }
  }
  world.objects.push_back(std::move(object));
}

api::Object random_object(RandomObjects& make, const World& world) {
  switch (make.upto(9)) {
    case 0:
      return make.namespace_(make.upto(3));
    case 1:
      return make.node(make.upto(2));
    case 2:
    case 3:
    case 4:
    case 5:
      return make.pod(make.upto(std::min(most_pods, count_of(world, api::Kind::pod) + 1)));
    default:
      return make.policy(make.upto(std::min(most_policies, count_of(world, api::Kind::network_policy) + 1)));
  }
}

void add_addresses(const World& world, std::set<net::IpAddr>& into) {
  for (const api::Object& object : world.objects) {
    if (const auto* pod = std::get_if<api::Pod>(&object)) into.insert(pod->ips.begin(), pod->ips.end());
    if (const auto* node = std::get_if<api::Node>(&object)) into.insert(node->addresses.begin(), node->addresses.end());
  }
  for (const char* text : {"203.0.113.5", "198.51.100.7", "10.0.1.13", "2001:db8::5", "2001:dead::1", "fd00:1::d"}) {
    into.insert(ip(text));
  }
}

/// Addresses that the world's node has a say about.
std::set<net::IpAddr> near_addresses(const World& world, const std::set<net::IpAddr>& all) {
  std::set<net::IpAddr> near;
  for (const api::Object& object : world.objects) {
    const auto* pod = std::get_if<api::Pod>(&object);
    if (pod != nullptr && pod->node == world.node) near.insert(pod->ips.begin(), pod->ips.end());
    const auto* node = std::get_if<api::Node>(&object);
    if (node == nullptr || node->meta.name != world.node) continue;
    for (const net::Cidr& block : node->pod_cidrs) {
      std::copy_if(all.begin(), all.end(), std::inserter(near, near.end()),
                   [&](const net::IpAddr& ip) { return block.contains(ip); });
    }
  }
  return near;
}

struct Asked {
  net::Protocol protocol;
  net::Port port;
};

void add_ports(const api::PolicyRule& rule, std::set<std::uint16_t>& into) {
  for (const api::PortSpec& spec : rule.ports) {
    const auto* range = std::get_if<net::PortRange>(&spec.port);
    if (range == nullptr || spec.whole_protocol) continue;
    for (const std::uint16_t edge : {range->first.number, range->last.number}) {
      into.insert(edge);
      if (edge > 1) into.insert(static_cast<std::uint16_t>(edge - 1));
      if (edge < 65535) into.insert(static_cast<std::uint16_t>(edge + 1));
    }
  }
}

std::vector<Asked> asked_in(const World& world) {
  std::set<std::uint16_t> numbers{80, 7777};
  for (const api::Object& object : world.objects) {
    if (const auto* pod = std::get_if<api::Pod>(&object)) {
      for (const api::ContainerPort& port : pod->named_ports) numbers.insert(port.port.number);
    }
    if (const auto* policy = std::get_if<api::NetworkPolicy>(&object)) {
      for (const api::PolicyRule& rule : policy->ingress) add_ports(rule, numbers);
      for (const api::PolicyRule& rule : policy->egress) add_ports(rule, numbers);
    }
  }
  std::vector<Asked> asked;
  for (const std::uint16_t number : numbers) {
    for (const net::Protocol protocol : {net::tcp, net::udp, net::sctp}) asked.push_back({protocol, {number}});
  }
  asked.push_back({net::icmp, {}});
  asked.push_back({net::Protocol{47}, {}});
  return asked;
}

}  // namespace

World random_world(Random& random) {
  RandomObjects make(random);
  World world;
  world.fail_closed = make.chance(70);
  const std::size_t namespaces = 2 + make.upto(2);
  for (std::size_t i = 0; i < namespaces; ++i) {
    if (make.chance(90)) world.objects.push_back(make.namespace_(i));
  }
  const std::size_t nodes = 1 + make.upto(2);
  for (std::size_t i = 0; i < nodes; ++i) world.objects.push_back(make.node(i));
  const std::size_t pods = 2 + make.upto(most_pods - 2);
  for (std::size_t i = 0; i < pods; ++i) world.objects.push_back(make.pod(i));
  const std::size_t policies = make.upto(most_policies);
  for (std::size_t i = 0; i < policies; ++i) put(world, make.policy(i));
  return world;
}

std::vector<store::Event> random_step(Random& random, World& world) {
  RandomObjects make(random);
  std::vector<store::Event> events;
  const std::size_t count = 1 + (make.chance(30) ? make.upto(4) : 0);
  for (std::size_t i = 0; i < count; ++i) {
    if (make.chance(25) && !world.objects.empty()) {
      const auto gone = world.objects.begin() + static_cast<std::ptrdiff_t>(make.upto(world.objects.size() - 1));
      const bool with_uid = make.chance(50);
      events.emplace_back(store::Remove{api::key_of(*gone), with_uid ? api::meta_of(*gone).uid : Text()});
      world.objects.erase(gone);
    } else {
      api::Object object = random_object(make, world);
      put(world, object);
      events.emplace_back(store::Upsert{std::move(object)});
    }
  }
  return events;
}

store::Cluster cluster_of(const World& world) {
  store::Cluster cluster;
  for (const api::Object& object : world.objects) cluster.apply(store::Upsert{object});
  return cluster;
}

std::vector<net::Flow> flows_in(const World& world, Random& random, std::size_t per_pair) {
  RandomObjects make(random);
  std::set<net::IpAddr> addresses;
  add_addresses(world, addresses);
  const std::set<net::IpAddr> near = near_addresses(world, addresses);
  const std::vector<Asked> asked = asked_in(world);
  std::vector<net::Flow> flows;
  const auto ask = [&](const net::IpAddr& source, const net::IpAddr& destination, Asked what) {
    if (what.protocol == net::icmp && source.family() == Family::ipv6) what.protocol = net::icmpv6;
    flows.push_back({source, destination, what.protocol, what.port});
  };
  for (const net::IpAddr& source : addresses) {
    for (const net::IpAddr& destination : addresses) {
      if (source.family() != destination.family()) continue;
      const bool is_near = near.count(source) + near.count(destination) > 0;
      if (!is_near && !make.chance(10)) continue;
      if (per_pair == 0) {
        for (const Asked& what : asked) ask(source, destination, what);
      } else {
        for (std::size_t i = 0; i < per_pair; ++i) ask(source, destination, asked[make.upto(asked.size() - 1)]);
      }
    }
  }
  return flows;
}

std::uint64_t seed_of_run() {
  if (const char* text = std::getenv("PODFENCE_SEED")) return std::strtoull(text, nullptr, 10);
  return std::random_device{}();
}

std::size_t count_from_env(const char* variable, std::size_t otherwise) {
  const char* text = std::getenv(variable);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

}  // namespace podfence::test
