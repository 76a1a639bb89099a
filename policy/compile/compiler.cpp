#include "policy/compile/compiler.h"

#include <algorithm>

#include "policy/base/overloaded.h"
#include "policy/compile/local_pods.h"

namespace podfence::compile {
namespace {

using net::Direction;
using program::Shape;

/// What a batch of events may have changed.
struct Dirt {
  Addresses addresses;                          // another owner, or the same with other labels or ports
  std::vector<std::string> namespaces;          // other labels
  std::vector<store::NamespacedName> policies;  // came, went or changed
};

void sort_unique(Addresses& addresses) {
  std::sort(addresses.begin(), addresses.end());
  addresses.erase(std::unique(addresses.begin(), addresses.end()), addresses.end());
}

void append(Addresses& to, const Addresses& from) {
  to.insert(to.end(), from.begin(), from.end());
}

/// Addresses that the stored object has; called before an event and after it.
void note_addresses(const store::Cluster& cluster, const api::ObjectKey& key, Dirt& dirt) {
  if (key.kind == api::Kind::pod) {
    if (const api::Pod* pod = cluster.find_pod(key.namespace_, key.name)) append(dirt.addresses, pod->ips);
  } else if (key.kind == api::Kind::node) {
    if (const api::Node* node = cluster.find_node(key.name)) append(dirt.addresses, node->addresses);
  }
}

std::vector<net::IpRange> managed_ranges(const store::Cluster& cluster, const Settings& settings,
                                         const Addresses& attached) {
  const api::Node* node = cluster.find_node(settings.node);
  std::vector<net::IpRange> ranges;
  for (const net::IpAddr& ip : attached) ranges.push_back({ip, ip});
  if (settings.fail_closed && node != nullptr) {
    for (const net::Cidr& block : node->pod_cidrs) ranges.push_back(block.range());
  }
  return net::merged(std::move(ranges));
}

program::SetId managed_set(const net::IpRange& range) {
  return {Shape::managed, Direction::ingress, range.first.family()};
}

}  // namespace

struct Compiler::State {
  explicit State(Settings s) : settings(std::move(s)) {}

  PeerClasses& peers_of(Direction direction) { return direction == Direction::ingress ? ingress : egress; }
  const PeerClasses& peers_of(Direction direction) const { return direction == Direction::ingress ? ingress : egress; }
  Subject::Context context_of(Direction direction) {
    return {direction, peers_of(direction).classes(), ports, settings.split_ports};
  }

  Dirt take(std::vector<store::Event> events);
  void update_subjects(Direction direction, const std::vector<SlotId>& changed, ChangeSink& sink);
  void update_managed(ChangeSink& sink);

  Settings settings;
  store::Cluster cluster;
  AddressTable addresses;
  PeerClasses ingress{Direction::ingress, addresses};
  PeerClasses egress{Direction::egress, addresses};
  PortPool ports;
  RelevantPolicies policies{ingress.specs(), egress.specs()};
  LocalPods locals;
  Addresses attached;  // sorted
  std::uint64_t policy_sets_version = 0;
  std::vector<net::IpRange> managed;
};

/// Lets the events into the cluster, and names what that may have changed.
Dirt Compiler::State::take(std::vector<store::Event> events) {
  Dirt dirt;
  for (store::Event& event : events) {
    const api::ObjectKey key = store::key_of(event);
    const std::size_t had = dirt.addresses.size();
    note_addresses(cluster, key, dirt);
    if (!cluster.apply(std::move(event))) {
      dirt.addresses.resize(had);
      continue;
    }
    note_addresses(cluster, key, dirt);
    if (key.kind == api::Kind::namespace_) dirt.namespaces.push_back(key.name);
    if (key.kind == api::Kind::network_policy) dirt.policies.emplace_back(key.namespace_, key.name);
  }
  for (const std::string& name : dirt.namespaces) {
    for (const Direction direction : net::directions) peers_of(direction).forget_namespace(name);
    const auto& pods = cluster.pods();
    for (auto at = pods.lower_bound({name, ""}); at != pods.end() && at->first.first == name; ++at) {
      append(dirt.addresses, at->second.ips);
    }
  }
  sort_unique(dirt.addresses);
  return dirt;
}

/// The tuples of the local pods: of marked ones all, of others those of classes that changed.
void Compiler::State::update_subjects(Direction direction, const std::vector<SlotId>& changed, ChangeSink& sink) {
  const Subject::Context context = context_of(direction);
  for (auto& [key, pod] : locals.pods()) {
    Subject& subject = pod.subjects[index_of(direction)];
    if (pod.dirty) {
      std::vector<const RelevantPolicy*> selecting;
      for (const auto& policy : pod.policies) selecting.push_back(policies.find(policy));
      const api::Pod* object = pod.addresses.empty() ? nullptr : cluster.find_pod(key.first, key.second);
      const bool rebound = subject.bind(context, object, selecting);
      if (rebound || pod.addresses != pod.addresses_before) {
        ++policy_sets_version;
        subject.rebuild(context, pod.addresses_before, pod.addresses, sink);
        continue;
      }
    }
    if (!changed.empty()) subject.update(context, pod.addresses, changed, sink);
  }
}

void Compiler::State::update_managed(ChangeSink& sink) {
  std::vector<net::IpRange> now = managed_ranges(cluster, settings, attached);
  if (now == managed) return;
  for (const net::IpRange& range : managed) sink.remove(managed_set(range), range_element(range, program::no_class));
  for (const net::IpRange& range : now) sink.add(managed_set(range), range_element(range, program::no_class));
  managed = std::move(now);
}

Compiler::Compiler(Settings settings) : state_(std::make_unique<State>(std::move(settings))) {}
Compiler::~Compiler() = default;
Compiler::Compiler(Compiler&&) noexcept = default;
Compiler& Compiler::operator=(Compiler&&) noexcept = default;

diff::Changes Compiler::apply(std::vector<store::Event> events) {
  State& s = *state_;
  ChangeSink sink;
  const Dirt dirt = s.take(std::move(events));
  s.locals.update_owners(s.cluster, s.settings.node, dirt.addresses);
  for (const auto& policy : dirt.policies) {
    s.locals.mark_subjects_of(s.cluster, policy);
    s.policies.touch(policy);
  }
  s.locals.update_policies(s.cluster, s.policies);
  s.policies.refresh(s.cluster);
  for (const Direction direction : net::directions) {
    PeerClasses& peers = s.peers_of(direction);
    const std::vector<SlotId> changed = peers.update(s.cluster, dirt.addresses, sink);
    s.update_subjects(direction, changed, sink);
    peers.reclaim();
  }
  s.locals.settle(sink);
  s.update_managed(sink);
  return sink.take();
}

diff::Changes Compiler::attach(std::span<const net::IpAddr> addresses) {
  State& s = *state_;
  s.attached.assign(addresses.begin(), addresses.end());
  sort_unique(s.attached);
  ChangeSink sink;
  s.update_managed(sink);
  return sink.take();
}

std::size_t Compiler::adopt_classes(const program::Program& kernel) {
  std::size_t kept = 0;
  for (const Direction direction : net::directions) kept += state_->peers_of(direction).adopt(kernel);
  return kept;
}

const store::Cluster& Compiler::cluster() const {
  return state_->cluster;
}
const Settings& Compiler::settings() const {
  return state_->settings;
}

const std::vector<net::IpAddr>& Compiler::attached() const {
  return state_->attached;
}

program::Program Compiler::program() const {
  State& s = *state_;
  program::Program program;
  program.options = s.settings.options;
  for (const auto& [key, pod] : s.locals.pods()) {
    for (const net::IpAddr& ip : pod.addresses) {
      program.at({Shape::self, Direction::ingress, ip.family()}).push_back(address_element(ip));
      program.at({Shape::known, Direction::ingress, ip.family()}).push_back(address_element(ip));
    }
    for (const Direction direction : net::directions) {
      pod.subjects[index_of(direction)].append_to(program, s.context_of(direction), pod.addresses);
    }
  }
  for (const Direction direction : net::directions) s.peers_of(direction).append_to(program);
  for (const net::IpRange& range : s.managed) {
    program.at(managed_set(range)).push_back(range_element(range, program::no_class));
  }
  for (auto& elements : program.sets) compile::sort_unique(elements);
  return program;
}

std::map<program::TallyKey, PolicySet> Compiler::policy_sets() const {
  State& s = *state_;
  std::map<program::TallyKey, PolicySet> sets;
  for (const auto& [key, pod] : s.locals.pods()) {
    for (const Direction direction : net::directions) {
      PolicySet isolating;
      for (const auto& policy : pod.policies) {
        const RelevantPolicy* relevant = s.policies.find(policy);
        if (relevant != nullptr && relevant->isolates[index_of(direction)]) isolating.push_back(policy);
      }
      if (!isolating.empty()) sets[{direction, number_of(isolating)}] = std::move(isolating);
    }
  }
  return sets;
}

std::uint64_t Compiler::policy_sets_version() const {
  return state_->policy_sets_version;
}

Compiler::Sizes Compiler::sizes() const {
  const State& s = *state_;
  return {s.locals.pods().size(), s.policies.size(), s.ingress.specs().size() + s.egress.specs().size(),
          s.ingress.classes().size() + s.egress.classes().size()};
}

}  // namespace podfence::compile
