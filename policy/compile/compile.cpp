#include "policy/compile/compile.h"

#include <algorithm>
#include <map>
#include <set>

#include "policy/compile/elements.h"
#include "policy/compile/policy_set.h"
#include "policy/model/grant.h"

namespace podfence::compile {
namespace {

using net::Direction;
using program::ClassId;
using program::Shape;

/// Which peers an address matches, by their place among all of them, and the number behind a named port.
using Signature = std::vector<std::pair<std::size_t, std::uint16_t>>;

struct LocalPod {
  const api::Pod* pod;
  std::vector<net::IpAddr> addresses;  // that it owns
};

std::vector<net::IpAddr> owned_addresses(const store::Cluster& cluster, const api::Pod& pod) {
  std::vector<net::IpAddr> owned;
  if (!pod.selectable()) return owned;
  for (const net::IpAddr& ip : pod.ips) {
    if (cluster.pod_by_ip(ip) == &pod) owned.push_back(ip);
  }
  return owned;
}

/// Everything about one direction that does not depend on classes: who is isolated by what, and which peers are named.
struct Side {
  Direction direction;
  std::map<const api::NetworkPolicy*, std::vector<model::Grant>> grants;  // of policies that select a local pod
  std::map<const LocalPod*, std::vector<const api::NetworkPolicy*>> subjects;
  std::vector<model::PeerSpec> peers;  // sorted
};

Side side_of(const store::Cluster& cluster, const std::vector<LocalPod>& locals, Direction direction) {
  Side side{direction, {}, {}, {}};
  std::set<model::PeerSpec> peers;
  for (const LocalPod& local : locals) {
    for (const auto& [key, policy] : cluster.policies()) {
      if (policy.meta.namespace_ != local.pod->meta.namespace_ || !policy.isolates(direction) ||
          !policy.pod_selector.matches(local.pod->meta.labels)) {
        continue;
      }
      side.subjects[&local].push_back(&policy);
      side.grants.emplace(&policy, model::grants_of(policy, direction));
    }
  }
  for (const auto& [policy, grants] : side.grants) {
    for (const model::Grant& grant : grants) {
      if (grant.peer) peers.insert(*grant.peer);
    }
  }
  side.peers.assign(peers.begin(), peers.end());
  return side;
}

Signature signature_of(const Side& side, const store::Cluster& cluster, const net::IpAddr& ip, const api::Pod* owner) {
  static const api::Labels none;
  const api::Labels& labels = owner != nullptr ? cluster.namespace_labels(owner->meta.namespace_) : none;
  Signature signature;
  for (std::size_t i = 0; i < side.peers.size(); ++i) {
    if (const auto number = model::match(side.peers[i], ip, owner, labels)) signature.emplace_back(i, *number);
  }
  return signature;
}

/// The disjoint ranges that the blocks cut the address space into, each with the blocks that hold it.
std::vector<std::pair<net::IpRange, Signature>> ranges_of(const Side& side, const store::Cluster& cluster) {
  std::set<net::IpAddr> starts;  // where a range can start
  std::vector<net::IpRange> covered;
  for (const model::PeerSpec& peer : side.peers) {
    if (!model::is_block(peer)) continue;
    for (const net::IpRange& range : std::get<model::Ranges>(peer.who).ranges) {
      covered.push_back(range);
      starts.insert(range.first);
      if (const auto after = range.last.next()) starts.insert(*after);
    }
  }
  std::vector<std::pair<net::IpRange, Signature>> ranges;
  for (net::IpRange whole : net::merged(covered)) {
    for (auto start = starts.find(whole.first); start != starts.end() && *start <= whole.last; ++start) {
      const auto next = std::next(start);
      const net::IpAddr last = next != starts.end() && *next <= whole.last ? *next->previous() : whole.last;
      Signature signature = signature_of(side, cluster, *start, nullptr);
      const bool joins =
          !ranges.empty() && ranges.back().second == signature && ranges.back().first.last.next() == *start;
      if (joins) {
        ranges.back().first.last = last;
      } else {
        ranges.emplace_back(net::IpRange{*start, last}, std::move(signature));
      }
    }
  }
  return ranges;
}

struct Class {
  ClassId number = program::no_class;
  std::set<net::Family> families;  // of the addresses that carry it
};
using Classes = std::map<Signature, Class>;

/// Fills cidr_class and peer_class.
Classes classify(const Side& side, const store::Cluster& cluster, program::Program& program) {
  Classes classes;
  const auto number = [&](const Signature& signature, net::Family family) {
    Class& found = classes[signature];
    if (found.number == program::no_class) {
      found.number = program::first_class + static_cast<ClassId>(classes.size() - 1);
    }
    found.families.insert(family);
    return found.number;
  };
  for (const auto& [range, signature] : ranges_of(side, cluster)) {
    const net::Family family = range.first.family();
    program.at({Shape::cidr_class, side.direction, family}).push_back(range_element(range, number(signature, family)));
  }
  for (const auto& [key, pod] : cluster.pods()) {
    for (const net::IpAddr& ip : owned_addresses(cluster, pod)) {
      const Signature signature = signature_of(side, cluster, ip, &pod);
      if (signature == signature_of(side, cluster, ip, nullptr)) continue;  // the range says it already
      program.at({Shape::peer_class, side.direction, ip.family()})
          .push_back(peer_element(ip, number(signature, ip.family())));
    }
  }
  return classes;
}

/// What the policies of a local pod admit to addresses with that signature; without one, to every address.
model::PortSet admitted(const Side& side, const LocalPod& local, const std::vector<const api::NetworkPolicy*>& policies,
                        const Signature* signature) {
  model::PortSetBuilder ports;
  for (const api::NetworkPolicy* policy : policies) {
    for (const model::Grant& grant : side.grants.at(policy)) {
      if (grant.peer.has_value() != (signature != nullptr)) continue;
      std::uint16_t number = 0;
      if (grant.peer) {
        const auto place = std::lower_bound(side.peers.begin(), side.peers.end(), *grant.peer) - side.peers.begin();
        const auto entry = std::find_if(signature->begin(), signature->end(),
                                        [&](const auto& e) { return e.first == static_cast<std::size_t>(place); });
        if (entry == signature->end()) continue;
        number = entry->second;
      }
      ports.add(grant.ports);
      for (const model::NamedPort& name : grant.local_names) {
        if (const auto port = local.pod->named_port(name.name, name.protocol)) ports.add(name.protocol, {*port, *port});
      }
      if (number != 0) ports.add(grant.peer->port->protocol, {net::Port{number}, net::Port{number}});
    }
  }
  return ports.finish();
}

void compile_side(const store::Cluster& cluster, const Settings& settings, const std::vector<LocalPod>& locals,
                  Direction direction, program::Program& program) {
  const Side side = side_of(cluster, locals, direction);
  const Classes classes = classify(side, cluster, program);
  std::vector<Placed> placed;
  for (const auto& [local, policies] : side.subjects) {
    const model::PortSet all = admitted(side, *local, policies, nullptr);
    PolicySet names;
    for (const auto* policy : policies) names.emplace_back(policy->meta.namespace_, policy->meta.name);
    std::sort(names.begin(), names.end());
    for (const net::IpAddr& ip : local->addresses) {
      placed.push_back({{Shape::isolated, direction, ip.family()}, address_element(ip)});
      placed.push_back({{Shape::policies, direction, ip.family()}, peer_element(ip, number_of(names))});
      append_elements(placed, direction, ip, program::no_class, all, settings.split_ports);
    }
    for (const auto& [signature, class_] : classes) {
      const model::PortSet ports = admitted(side, *local, policies, &signature);
      for (const net::IpAddr& ip : local->addresses) {
        if (class_.families.count(ip.family()) == 0) continue;
        append_elements(placed, direction, ip, class_.number, ports, settings.split_ports);
      }
    }
  }
  for (const Placed& p : placed) program.at(p.set).push_back(p.element);
}

void close_unknown(const store::Cluster& cluster, const Settings& settings, std::span<const net::IpAddr> attached,
                   program::Program& program) {
  std::vector<net::IpRange> ranges;
  for (const net::IpAddr& ip : attached) ranges.push_back({ip, ip});
  const api::Node* node = cluster.find_node(settings.node);
  if (settings.fail_closed && node != nullptr) {
    for (const net::Cidr& block : node->pod_cidrs) ranges.push_back(block.range());
  }
  for (const net::IpRange& range : net::merged(std::move(ranges))) {
    program.at({Shape::managed, Direction::ingress, range.first.family()})
        .push_back(range_element(range, program::no_class));
  }
}

}  // namespace

program::Program compile(const store::Cluster& cluster, const Settings& settings,
                         std::span<const net::IpAddr> attached) {
  program::Program program;
  program.options = settings.options;
  std::vector<LocalPod> locals;
  for (const auto& [key, pod] : cluster.pods()) {
    if (pod.node != settings.node) continue;
    LocalPod local{&pod, owned_addresses(cluster, pod)};
    if (!local.addresses.empty()) locals.push_back(std::move(local));
  }
  for (const LocalPod& local : locals) {
    for (const net::IpAddr& ip : local.addresses) {
      program.at({Shape::self, Direction::ingress, ip.family()}).push_back(address_element(ip));
      program.at({Shape::known, Direction::ingress, ip.family()}).push_back(address_element(ip));
    }
  }
  for (const Direction direction : net::directions) compile_side(cluster, settings, locals, direction, program);
  close_unknown(cluster, settings, attached, program);
  for (auto& elements : program.sets) sort_unique(elements);
  return canonical(std::move(program));
}

}  // namespace podfence::compile
