#include "tests/support/world_yaml.h"

#include "policy/base/json_writer.h"
#include "policy/base/overloaded.h"

namespace podfence::test {
namespace {

class Manifest {
 public:
  explicit Manifest(std::string& out) : json_(out) {}

  void write(const api::Namespace& space) {
    open("v1", "Namespace", space.meta);
    json_.end_object();
  }

  void write(const api::Node& node) {
    open("v1", "Node", node.meta);
    json_.key("spec").begin_object().key("podCIDRs").begin_array();
    for (const net::Cidr& block : node.pod_cidrs) json_.value(block.text());
    json_.end_array().end_object();
    json_.key("status").begin_object().key("addresses").begin_array();
    for (const net::IpAddr& ip : node.addresses) {
      json_.begin_object().field("type", "InternalIP").field("address", ip.text()).end_object();
    }
    json_.end_array().end_object().end_object();
  }

  void write(const api::Pod& pod) {
    open("v1", "Pod", pod.meta);
    json_.key("spec").begin_object().field("nodeName", pod.node).field("hostNetwork", pod.host_network);
    json_.key("containers").begin_array().begin_object().field("name", "main").key("ports").begin_array();
    for (const api::ContainerPort& port : pod.named_ports) {
      json_.begin_object().field("name", port.name).field("containerPort", port.port.number);
      json_.field("protocol", net::text_of(port.protocol)).end_object();
    }
    json_.end_array().end_object().end_array().end_object();
    json_.key("status").begin_object().field("phase", api::name_of(pod.phase)).key("podIPs").begin_array();
    for (const net::IpAddr& ip : pod.ips) json_.begin_object().field("ip", ip.text()).end_object();
    json_.end_array().end_object().end_object();
  }

  void write(const api::NetworkPolicy& policy) {
    open("networking.k8s.io/v1", "NetworkPolicy", policy.meta);
    json_.key("spec").begin_object().key("podSelector");
    write(policy.pod_selector);
    json_.key("policyTypes").begin_array();
    if (policy.isolates_ingress) json_.value("Ingress");
    if (policy.isolates_egress) json_.value("Egress");
    json_.end_array();
    write_rules("ingress", "from", policy.ingress);
    write_rules("egress", "to", policy.egress);
    json_.end_object().end_object();
  }

 private:
  void open(std::string_view version, std::string_view kind, const api::ObjectMeta& meta) {
    json_.begin_object().field("apiVersion", version).field("kind", kind).key("metadata").begin_object();
    json_.field("name", meta.name);
    if (!meta.namespace_.empty()) json_.field("namespace", meta.namespace_);
    if (!meta.uid.empty()) json_.field("uid", meta.uid);
    if (meta.created > 0) json_.field("creationTimestamp", "1970-01-01T00:00:0" + std::to_string(meta.created) + "Z");
    if (meta.terminating) json_.field("deletionTimestamp", "2030-01-01T00:00:00Z");
    json_.key("labels").begin_object();
    for (const auto& [key, value] : meta.labels) json_.field(key, value);
    json_.end_object().end_object();
  }

  void write(const api::LabelSelector& selector) {
    json_.begin_object().key("matchExpressions").begin_array();
    for (const api::Requirement& r : selector.requirements) {
      json_.begin_object().field("key", r.key).field("operator", api::name_of(r.op));
      if (!r.values.empty()) {
        json_.key("values").begin_array();
        for (const std::string& value : r.values) json_.value(value);
        json_.end_array();
      }
      json_.end_object();
    }
    if (selector.invalid) json_.begin_object().field("key", "x").field("operator", "Bogus").end_object();
    json_.end_array().end_object();
  }

  void write_rules(std::string_view field, std::string_view peers, const std::vector<api::PolicyRule>& rules) {
    if (rules.empty()) return;
    json_.key(field).begin_array();
    for (const api::PolicyRule& rule : rules) {
      json_.begin_object();
      if (!rule.any_peer) {
        json_.key(peers).begin_array();
        for (const api::Peer& peer : rule.peers) std::visit([&](const auto& p) { write(p); }, peer);
        if (rule.peers.empty()) json_.begin_object().end_object();
        json_.end_array();
      }
      if (!rule.any_port) {
        json_.key("ports").begin_array();
        for (const api::PortSpec& port : rule.ports) write(port);
        if (rule.ports.empty()) json_.begin_object().field("protocol", "none").end_object();
        json_.end_array();
      }
      json_.end_object();
    }
    json_.end_array();
  }

  void write(const api::PodPeer& peer) {
    json_.begin_object();
    if (peer.namespaces) {
      json_.key("namespaceSelector");
      write(*peer.namespaces);
    }
    json_.key("podSelector");
    write(peer.pods);
    json_.end_object();
  }

  void write(const api::IpBlock& block) {
    json_.begin_object().key("ipBlock").begin_object().field("cidr", block.cidr.text());
    json_.key("except").begin_array();
    for (const net::Cidr& hole : block.except) json_.value(hole.text());
    json_.end_array().end_object().end_object();
  }

  void write(const api::Nothing&) { json_.begin_object().end_object(); }

  void write(const api::PortSpec& port) {
    json_.begin_object().field("protocol", net::text_of(port.protocol));
    if (!port.whole_protocol) {
      std::visit(overloaded{
                     [&](const net::PortRange& range) {
                       json_.field("port", range.first.number);
                       if (range.first != range.last) json_.field("endPort", range.last.number);
                     },
                     [&](const std::string& name) { json_.field("port", name); },
                     [&](const api::Nothing&) { json_.field("port", 0); },
                 },
                 port.port);
    }
    json_.end_object();
  }

  JsonWriter json_;
};

}  // namespace

std::string manifest_of(const api::Object& object) {
  std::string out;
  std::visit([&](const auto& o) { Manifest(out).write(o); }, object);
  return out;
}

std::string case_of(const World& world, const net::Flow& flow, bool allowed, const std::string& title) {
  std::string out = "node: " + world.node + "\ncases:\n  - case: " + title + "\n    node: " + world.node +
                    "\n    fail_closed: " + (world.fail_closed ? "true" : "false") + "\n    objects:\n";
  for (const api::Object& object : world.objects) out += "      - " + manifest_of(object) + "\n";
  out += "    flows:\n      - {from: \"" + flow.source.text() + "\", to: \"" + flow.destination.text() +
         "\", protocol: " + net::text_of(flow.protocol) + ", port: " + std::to_string(flow.destination_port.number) +
         ", at: " + world.node + ", verdict: " + (allowed ? "allow" : "deny") + "}\n";
  return out;
}

}  // namespace podfence::test
