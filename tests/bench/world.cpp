#include "tests/bench/world.h"

#include <algorithm>

#include "policy/base/json_writer.h"
#include "policy/base/overloaded.h"

namespace podfence::bench {
namespace {

constexpr std::size_t pods_per_node = 100;
constexpr std::size_t replicas = 10;
constexpr std::size_t apps = 10;
constexpr std::size_t policies_per_namespace = 50;

std::size_t namespace_count(Size size) {
  return std::clamp<std::size_t>(std::max(size.policies / policies_per_namespace, size.pods / 1000), 10, 400);
}

std::string namespace_name(std::size_t n) {
  return "team-" + std::to_string(n);
}
std::string app_name(std::size_t a) {
  return "app-" + std::to_string(a % apps);
}

api::Labels sorted(std::vector<std::pair<std::string, std::string>> labels) {
  std::sort(labels.begin(), labels.end());
  return labels;
}

api::Requirement equals(std::string key, std::string value) {
  return {std::move(key), api::Operator::in, {std::move(value)}};
}

net::IpAddr pod_ip(std::size_t index) {
  const auto n = index + 256;
  return net::IpAddr::v4(10, static_cast<std::uint8_t>(n >> 16U), static_cast<std::uint8_t>(n >> 8U),
                         static_cast<std::uint8_t>(n));
}

/// Pod number `index`: its node is index / 100, so that a node's pods belong to many namespaces.
api::Pod pod(Size size, std::size_t index) {
  const std::size_t owner = index % namespace_count(size);
  const std::size_t app = index / namespace_count(size) / replicas;
  api::Pod p;
  p.meta.namespace_ = namespace_name(owner);
  p.meta.name = app_name(app) + "-7d9f6c5b8-" + std::to_string(index);
  p.meta.uid = "00000000-0000-4000-8000-" + std::to_string(100000000000ULL + index);
  p.meta.labels =
      sorted({{"app", app_name(app)}, {"tier", app % 2 == 0 ? "front" : "back"}, {"pod-template-hash", "7d9f6c5b8"}});
  p.node = "node-" + std::to_string(index / pods_per_node);
  p.phase = api::Phase::running;
  p.ips = {pod_ip(index)};
  p.named_ports = {{"http", net::tcp, net::Port{8080}}};
  p.workload_kind = "Deployment";
  p.workload = app_name(app);
  return p;
}

api::Peer peer_of(std::size_t serial) {
  switch (serial % 4) {
    case 0:
      return api::PodPeer{std::nullopt, {{equals("app", app_name(serial / 4))}, false}};
    case 1:
      return api::PodPeer{api::LabelSelector{{equals("group", std::to_string(serial / 4 % 8))}, false},
                          {{equals("tier", "front")}, false}};
    case 2:
      return api::PodPeer{std::nullopt, {{equals("tier", "back")}, false}};
    default: {
      const auto block = net::Cidr::around(net::IpAddr::v4(192, 168, static_cast<std::uint8_t>(serial % 16), 0), 24);
      return api::IpBlock{block, {net::Cidr::around(block.base(), 28)}};
    }
  }
}

api::NetworkPolicy policy(std::size_t namespaces, std::size_t serial) {
  api::NetworkPolicy p;
  p.meta.namespace_ = namespace_name(serial % namespaces);
  p.meta.name = "allow-" + std::to_string(serial);
  p.meta.uid = "p-" + std::to_string(serial);
  p.meta.generation = 1;
  const std::size_t within = serial / namespaces;
  p.pod_selector = {{equals("app", app_name(within))}, false};
  p.isolates_egress = within % 5 == 0;
  api::PolicyRule rule;
  rule.any_peer = false;
  rule.peers = {peer_of(within), peer_of(within + 1)};
  rule.any_port = false;
  const net::Port first{static_cast<std::uint16_t>(8000 + within % 20)};
  rule.ports = {{net::tcp, net::PortRange{first, first}, false}, {net::tcp, std::string("http"), false}};
  p.ingress = {rule};
  if (p.isolates_egress) p.egress = {rule};
  return p;
}

void write_labels(JsonWriter& json, const api::Labels& labels) {
  json.key("labels").begin_object();
  for (const auto& [key, value] : labels) json.field(key, value);
  json.end_object();
}

void write_meta(JsonWriter& json, const api::ObjectMeta& meta) {
  json.key("metadata").begin_object().field("name", meta.name);
  if (!meta.namespace_.empty()) json.field("namespace", meta.namespace_);
  if (!meta.uid.empty()) json.field("uid", meta.uid);
  write_labels(json, meta.labels);
  json.end_object();
}

void write_selector(JsonWriter& json, std::string_view name, const api::LabelSelector& selector) {
  json.key(name).begin_object().key("matchLabels").begin_object();
  for (const auto& r : selector.requirements) json.field(r.key, r.values.front());
  json.end_object().end_object();
}

void write_rule(JsonWriter& json, std::string_view side, const api::PolicyRule& rule) {
  json.begin_object().key(side).begin_array();
  for (const auto& peer : rule.peers) {
    json.begin_object();
    std::visit(
        overloaded{[&](const api::PodPeer& pods) {
                     if (pods.namespaces) write_selector(json, "namespaceSelector", *pods.namespaces);
                     write_selector(json, "podSelector", pods.pods);
                   },
                   [&](const api::IpBlock& block) {
                     json.key("ipBlock").begin_object().field("cidr", block.cidr.text()).key("except").begin_array();
                     for (const auto& hole : block.except) json.value(hole.text());
                     json.end_array().end_object();
                   },
                   [](const api::Nothing&) {}},
        peer);
    json.end_object();
  }
  json.end_array().key("ports").begin_array();
  for (const auto& port : rule.ports) {
    json.begin_object().field("protocol", "TCP").key("port");
    if (const auto* name = std::get_if<std::string>(&port.port)) {
      json.value(*name);
    } else {
      json.value(std::get<net::PortRange>(port.port).first.number);
    }
    json.end_object();
  }
  json.end_array().end_object();
}

void write(JsonWriter& json, const api::Namespace& n) {
  json.begin_object().field("apiVersion", "v1").field("kind", "Namespace");
  write_meta(json, n.meta);
  json.end_object();
}

void write(JsonWriter& json, const api::Node& n) {
  json.begin_object().field("apiVersion", "v1").field("kind", "Node");
  write_meta(json, n.meta);
  json.end_object();
}

void write(JsonWriter& json, const api::Pod& p) {
  json.begin_object().field("apiVersion", "v1").field("kind", "Pod");
  write_meta(json, p.meta);
  json.key("spec").begin_object().field("nodeName", p.node).key("containers").begin_array().begin_object();
  json.field("name", "main").field("image", "registry.example/app:1.0").key("ports").begin_array();
  for (const auto& port : p.named_ports) {
    json.begin_object().field("name", port.name).field("containerPort", port.port.number).end_object();
  }
  json.end_array().end_object().end_array().end_object();
  json.key("status").begin_object().field("phase", "Running").key("podIPs").begin_array();
  for (const auto& ip : p.ips) json.begin_object().field("ip", ip.text()).end_object();
  json.end_array().end_object().end_object();
}

void write(JsonWriter& json, const api::NetworkPolicy& p) {
  json.begin_object().field("apiVersion", "networking.k8s.io/v1").field("kind", "NetworkPolicy");
  write_meta(json, p.meta);
  json.key("spec").begin_object();
  write_selector(json, "podSelector", p.pod_selector);
  json.key("policyTypes").begin_array().value("Ingress");
  if (p.isolates_egress) json.value("Egress");
  json.end_array().key("ingress").begin_array();
  for (const auto& rule : p.ingress) write_rule(json, "from", rule);
  json.end_array();
  if (p.isolates_egress) {
    json.key("egress").begin_array();
    for (const auto& rule : p.egress) write_rule(json, "to", rule);
    json.end_array();
  }
  json.end_object().end_object();
}

}  // namespace

std::vector<store::Event> world(Size size) {
  std::vector<store::Event> events;
  const auto namespaces = namespace_count(size);
  for (std::size_t n = 0; n < namespaces; ++n) {
    api::Namespace ns;
    ns.meta.name = namespace_name(n);
    ns.meta.labels = sorted({{"kubernetes.io/metadata.name", ns.meta.name}, {"group", std::to_string(n % 8)}});
    events.push_back(store::Upsert{std::move(ns)});
  }
  for (std::size_t n = 0; n * pods_per_node < size.pods; ++n) {
    api::Node node;
    node.meta.name = "node-" + std::to_string(n);
    events.push_back(store::Upsert{std::move(node)});
  }
  for (std::size_t i = 0; i < size.pods; ++i) events.push_back(store::Upsert{pod(size, i)});
  for (std::size_t i = 0; i < size.policies; ++i) events.push_back(store::Upsert{policy(namespaces, i)});
  return events;
}

api::Pod one_more_pod(Size size, std::size_t serial) {
  auto p = pod(size, serial % 50);  // labels of a deployment that local policies admit
  p.meta.name = p.meta.name + "-more-" + std::to_string(serial);
  p.meta.uid = p.meta.uid + "-" + std::to_string(serial);
  p.node = "node-elsewhere";
  p.ips = {net::IpAddr::v4(10, 200, static_cast<std::uint8_t>(serial >> 8U), static_cast<std::uint8_t>(serial))};
  return p;
}

api::NetworkPolicy one_more_policy(std::size_t serial) {
  auto p = policy(10, serial % 10);
  p.meta.name = "one-more-" + std::to_string(serial);
  p.ingress.front().ports = {{net::tcp, net::PortRange{net::Port{9999}, net::Port{9999}}, false}};
  return p;
}

api::NetworkPolicy wide_policy() {
  auto p = policy(10, 0);
  p.meta.namespace_ = "quiet";
  p.meta.name = "wide";
  p.isolates_egress = false;
  p.egress.clear();
  p.ingress.front().peers = {api::PodPeer{api::LabelSelector{}, {{equals("app", app_name(3))}, false}}};
  return p;
}

api::Pod pod_of_wide_policy() {
  auto p = pod({}, 0);
  p.meta.namespace_ = "quiet";
  p.ips = {net::IpAddr::v4(10, 201, 0, 1)};
  return p;
}

std::string manifest(const std::vector<store::Event>& events) {
  std::string out;
  JsonWriter json(out);
  json.begin_object().field("apiVersion", "v1").field("kind", "List").key("items").begin_array();
  for (const auto& event : events) {
    if (const auto* upsert = std::get_if<store::Upsert>(&event)) {
      std::visit([&](const auto& object) { write(json, object); }, upsert->object);
    }
  }
  json.end_array().end_object();
  return out;
}

}  // namespace podfence::bench
