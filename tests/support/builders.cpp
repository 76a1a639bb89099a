#include "tests/support/builders.h"

#include <algorithm>
#include <stdexcept>

namespace podfence::test {
namespace {

template <class T>
T value_or_throw(Result<T> result) {
  if (!result) throw std::invalid_argument(result.error().what());
  return *std::move(result);
}

template <class T>
void insert_sorted(std::vector<T>& into, T value) {
  const auto at = std::lower_bound(into.begin(), into.end(), value);
  if (at == into.end() || *at != value) into.insert(at, std::move(value));
}

void set_label(api::Labels& labels, std::string key, std::string value) {
  auto& into = labels.edit();
  into.erase(std::remove_if(into.begin(), into.end(), [&](const auto& l) { return l.first == key; }), into.end());
  insert_sorted(into, {std::move(key), std::move(value)});
}

}  // namespace

net::IpAddr ip(std::string_view text) {
  return value_or_throw(net::IpAddr::parse(text));
}
net::Cidr cidr(std::string_view text) {
  return value_or_throw(net::Cidr::parse(text));
}

api::Requirement requirement(std::string key, api::Operator op, std::vector<std::string> values) {
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  return api::Requirement{std::move(key), op, std::move(values)};
}

api::LabelSelector expressions(std::vector<api::Requirement> requirements) {
  api::LabelSelector selector;
  for (auto& one : requirements) insert_sorted(selector.requirements.edit(), std::move(one));
  return selector;
}

api::LabelSelector labels(const Pairs& pairs) {
  std::vector<api::Requirement> requirements;
  for (const auto& [key, value] : pairs) requirements.push_back(requirement(key, api::Operator::in, {value}));
  return expressions(std::move(requirements));
}

NamespaceBuilder::NamespaceBuilder(std::string name) {
  set_label(object_.meta.labels, "kubernetes.io/metadata.name", name);
  object_.meta.name = std::move(name);
}
NamespaceBuilder& NamespaceBuilder::label(std::string key, std::string value) {
  set_label(object_.meta.labels, std::move(key), std::move(value));
  return *this;
}

NodeBuilder::NodeBuilder(std::string name) {
  object_.meta.name = std::move(name);
}
NodeBuilder& NodeBuilder::label(std::string key, std::string value) {
  set_label(object_.meta.labels, std::move(key), std::move(value));
  return *this;
}
NodeBuilder& NodeBuilder::ip(std::string_view address) {
  insert_sorted(object_.addresses, test::ip(address));
  return *this;
}
NodeBuilder& NodeBuilder::pod_cidr(std::string_view block) {
  insert_sorted(object_.pod_cidrs, cidr(block));
  return *this;
}

PodBuilder::PodBuilder(std::string name) {
  object_.meta.namespace_ = "default";
  object_.meta.uid = "uid-" + name;
  object_.meta.name = std::move(name);
  object_.node = "n1";
  object_.phase = api::Phase::running;
}
PodBuilder& PodBuilder::ns(std::string name) {
  object_.meta.namespace_ = std::move(name);
  return *this;
}
PodBuilder& PodBuilder::node(std::string name) {
  object_.node = std::move(name);
  return *this;
}
PodBuilder& PodBuilder::uid(std::string uid) {
  object_.meta.uid = std::move(uid);
  return *this;
}
PodBuilder& PodBuilder::label(std::string key, std::string value) {
  set_label(object_.meta.labels, std::move(key), std::move(value));
  return *this;
}
PodBuilder& PodBuilder::ip(std::string_view address) {
  object_.ips.push_back(test::ip(address));
  return *this;
}
PodBuilder& PodBuilder::port(std::string name, std::uint16_t number, net::Protocol protocol) {
  object_.named_ports.edit().push_back(api::ContainerPort{std::move(name), protocol, net::Port{number}});
  return *this;
}
PodBuilder& PodBuilder::host_network() {
  object_.host_network = true;
  return *this;
}
PodBuilder& PodBuilder::phase(api::Phase phase) {
  object_.phase = phase;
  return *this;
}
PodBuilder& PodBuilder::created(std::int64_t seconds) {
  object_.meta.created = seconds;
  return *this;
}
PodBuilder& PodBuilder::terminating() {
  object_.meta.terminating = true;
  return *this;
}
PodBuilder& PodBuilder::workload(std::string kind, std::string name) {
  object_.workload_kind = std::move(kind);
  object_.workload = std::move(name);
  return *this;
}

RuleBuilder& RuleBuilder::peer(api::Peer peer) {
  rule_.any_peer = false;
  rule_.peers.push_back(std::move(peer));
  return *this;
}
RuleBuilder& RuleBuilder::pods(const Pairs& match_labels) {
  return peer(api::PodPeer{std::nullopt, labels(match_labels)});
}
RuleBuilder& RuleBuilder::pods(api::LabelSelector namespaces, api::LabelSelector selector) {
  return peer(api::PodPeer{std::move(namespaces), std::move(selector)});
}
RuleBuilder& RuleBuilder::block(std::string_view block, const std::vector<std::string>& except) {
  api::IpBlock made{cidr(block), {}};
  for (const auto& hole : except) insert_sorted(made.except, cidr(hole));
  return peer(std::move(made));
}
RuleBuilder& RuleBuilder::spec(api::PortSpec spec) {
  rule_.any_port = false;
  rule_.ports.push_back(std::move(spec));
  return *this;
}
RuleBuilder& RuleBuilder::port(std::uint16_t number, net::Protocol protocol) {
  return ports(number, number, protocol);
}
RuleBuilder& RuleBuilder::ports(std::uint16_t first, std::uint16_t last, net::Protocol protocol) {
  return spec({protocol, net::PortRange{net::Port{first}, net::Port{last}}, false});
}
RuleBuilder& RuleBuilder::named_port(std::string name, net::Protocol protocol) {
  return spec({protocol, std::move(name), false});
}
RuleBuilder& RuleBuilder::protocol(net::Protocol protocol) {
  return spec({protocol, net::every_port, true});
}
RuleBuilder& RuleBuilder::no_port(std::string why) {
  return spec({net::tcp, api::Nothing{std::move(why)}, false});
}

PolicyBuilder::PolicyBuilder(std::string name) {
  object_.meta.namespace_ = "default";
  object_.meta.uid = "uid-" + name;
  object_.meta.name = std::move(name);
  object_.isolates_ingress = false;
}
PolicyBuilder& PolicyBuilder::ns(std::string name) {
  object_.meta.namespace_ = std::move(name);
  return *this;
}
PolicyBuilder& PolicyBuilder::uid(std::string uid) {
  object_.meta.uid = std::move(uid);
  return *this;
}
PolicyBuilder& PolicyBuilder::selects(const Pairs& match_labels) {
  return selects_by(labels(match_labels));
}
PolicyBuilder& PolicyBuilder::selects_by(api::LabelSelector selector) {
  object_.pod_selector = std::move(selector);
  return *this;
}
PolicyBuilder& PolicyBuilder::deny_ingress() {
  object_.isolates_ingress = true;
  return *this;
}
PolicyBuilder& PolicyBuilder::deny_egress() {
  object_.isolates_egress = true;
  return *this;
}
PolicyBuilder& PolicyBuilder::ingress(api::PolicyRule rule) {
  object_.ingress.push_back(std::move(rule));
  return deny_ingress();
}
PolicyBuilder& PolicyBuilder::egress(api::PolicyRule rule) {
  object_.egress.push_back(std::move(rule));
  return deny_egress();
}

std::vector<store::Event> events_of(std::vector<api::Object> objects) {
  std::vector<store::Event> events;
  for (auto& object : objects) events.emplace_back(store::Upsert{std::move(object)});
  return events;
}

store::Cluster cluster_of(std::vector<api::Object> objects) {
  store::Cluster cluster;
  for (auto& event : events_of(std::move(objects))) cluster.apply(std::move(event));
  return cluster;
}

net::Flow flow(std::string_view source, std::string_view destination, net::Protocol protocol, std::uint16_t port) {
  return {ip(source), ip(destination), protocol, net::Port{port}};
}
net::Flow tcp_flow(std::string_view source, std::string_view destination, std::uint16_t port) {
  return flow(source, destination, net::tcp, port);
}

}  // namespace podfence::test
