#pragma once
// Objects in a line each, for tests:
//   cluster_of({ns("shop"), node("n1").ip("192.0.2.1"), pod("web").ns("shop").label("app", "web").ip("10.0.0.1"),
//               policy("allow").ns("shop").selects({{"app", "web"}}).ingress(rule().pods({{"app", "cli"}}).port(80))})
// Texts that are no address, block or protocol throw std::invalid_argument.
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "policy/api/objects.h"
#include "policy/net/flow.h"
#include "policy/store/cluster.h"

namespace podfence::test {

using Pairs = std::vector<std::pair<std::string, std::string>>;

net::IpAddr ip(std::string_view text);
net::Cidr cidr(std::string_view text);

/// matchLabels.
api::LabelSelector labels(const Pairs& pairs);
api::Requirement requirement(std::string key, api::Operator op, std::vector<std::string> values = {});
/// matchExpressions.
api::LabelSelector expressions(std::vector<api::Requirement> requirements);
inline api::LabelSelector everything() {
  return {};
}

class NamespaceBuilder {
 public:
  explicit NamespaceBuilder(std::string name);
  NamespaceBuilder& label(std::string key, std::string value);
  operator api::Object() const { return object_; }  // NOLINT(google-explicit-constructor)

 private:
  api::Namespace object_;
};

class NodeBuilder {
 public:
  explicit NodeBuilder(std::string name);
  NodeBuilder& label(std::string key, std::string value);
  NodeBuilder& ip(std::string_view address);
  NodeBuilder& pod_cidr(std::string_view block);
  operator api::Object() const { return object_; }  // NOLINT(google-explicit-constructor)

 private:
  api::Node object_;
};

/// In namespace "default", on node "n1", Running.
class PodBuilder {
 public:
  explicit PodBuilder(std::string name);
  PodBuilder& ns(std::string name);
  PodBuilder& node(std::string name);
  PodBuilder& uid(std::string uid);
  PodBuilder& label(std::string key, std::string value);
  PodBuilder& ip(std::string_view address);
  PodBuilder& port(std::string name, std::uint16_t number, net::Protocol protocol = net::tcp);
  PodBuilder& host_network();
  PodBuilder& phase(api::Phase phase);
  PodBuilder& created(std::int64_t seconds);
  PodBuilder& terminating();
  PodBuilder& workload(std::string kind, std::string name);
  operator api::Object() const { return object_; }  // NOLINT(google-explicit-constructor)
  const api::Pod& object() const { return object_; }

 private:
  api::Pod object_;
};

/// A rule for any peer and any port until one is named.
class RuleBuilder {
 public:
  RuleBuilder& peer(api::Peer peer);
  RuleBuilder& pods(const Pairs& match_labels);                                   // of the policy's own namespace
  RuleBuilder& pods(api::LabelSelector namespaces, api::LabelSelector selector);  // of these namespaces
  RuleBuilder& block(std::string_view block, const std::vector<std::string>& except = {});
  RuleBuilder& port(std::uint16_t number, net::Protocol protocol = net::tcp);
  RuleBuilder& ports(std::uint16_t first, std::uint16_t last, net::Protocol protocol = net::tcp);
  RuleBuilder& named_port(std::string name, net::Protocol protocol = net::tcp);
  RuleBuilder& protocol(net::Protocol protocol);      // every port of it
  RuleBuilder& no_port(std::string why);              // a port that was invalid
  operator api::PolicyRule() const { return rule_; }  // NOLINT(google-explicit-constructor)

 private:
  RuleBuilder& spec(api::PortSpec spec);
  api::PolicyRule rule_;
};

/// In namespace "default", for every pod of it, isolating nothing until told.
class PolicyBuilder {
 public:
  explicit PolicyBuilder(std::string name);
  PolicyBuilder& ns(std::string name);
  PolicyBuilder& uid(std::string uid);
  PolicyBuilder& selects(const Pairs& match_labels);
  PolicyBuilder& selects_by(api::LabelSelector selector);
  PolicyBuilder& deny_ingress();
  PolicyBuilder& deny_egress();
  PolicyBuilder& ingress(api::PolicyRule rule);
  PolicyBuilder& egress(api::PolicyRule rule);
  operator api::Object() const { return object_; }  // NOLINT(google-explicit-constructor)
  const api::NetworkPolicy& object() const { return object_; }

 private:
  api::NetworkPolicy object_;
};

inline NamespaceBuilder ns(std::string name) {
  return NamespaceBuilder(std::move(name));
}
inline NodeBuilder node(std::string name) {
  return NodeBuilder(std::move(name));
}
inline PodBuilder pod(std::string name) {
  return PodBuilder(std::move(name));
}
inline RuleBuilder rule() {
  return {};
}
inline PolicyBuilder policy(std::string name) {
  return PolicyBuilder(std::move(name));
}

store::Cluster cluster_of(std::vector<api::Object> objects);
std::vector<store::Event> events_of(std::vector<api::Object> objects);

net::Flow tcp_flow(std::string_view source, std::string_view destination, std::uint16_t port);
net::Flow flow(std::string_view source, std::string_view destination, net::Protocol protocol, std::uint16_t port = 0);

}  // namespace podfence::test
