#include <algorithm>

#include "policy/api/parts.h"
#include "policy/api/syntax.h"

namespace podfence::api {
namespace {

constexpr std::string_view name_label = "kubernetes.io/metadata.name";

template <class T>
void add_sorted(std::vector<T>& into, const T& value) {
  const auto at = std::lower_bound(into.begin(), into.end(), value);
  if (at == into.end() || *at != value) into.insert(at, value);
}

void read_pod_cidr(Report& report, const Value& value, Node& node) {
  if (!report.string(value)) return;
  const auto cidr = net::Cidr::parse(value.string());
  if (cidr) return add_sorted(node.pod_cidrs, *cidr);
  report.error(value, value.shown() + " is not a CIDR block: expected \"10.0.0.0/24\" or \"2001:db8::/64\"");
}

void read_address(Report& report, const Value& entry, Node& node) {
  if (!report.object(entry)) return;
  const Value address = entry.get("address");
  if (!report.string(address)) return;
  const Value type = entry.get("type");
  const auto ip = net::IpAddr::parse(address.string());
  if (ip) return add_sorted(node.addresses, *ip);
  if (type.is_string() && (type.string() == "InternalIP" || type.string() == "ExternalIP")) {
    report.error(address, address.shown() + " is not an IP address");
  }
}

Phase read_phase(Report& report, const Value& phase) {
  if (!phase.given()) return Phase::pending;
  for (const Phase one : {Phase::pending, Phase::running, Phase::succeeded, Phase::failed, Phase::unknown}) {
    if (phase.is_string() && phase.string() == name_of(one)) return one;
  }
  report.error(phase, phase.shown() + " is not a phase: expected Pending, Running, Succeeded, Failed or Unknown");
  return Phase::unknown;
}

void read_ip(Report& report, const Value& value, Pod& pod) {
  // An address that is not there yet is an empty string.
  if (!report.string(value) || value.string().empty()) return;
  const auto ip = net::IpAddr::parse(value.string());
  if (!ip) return report.error(value, value.shown() + " is not an IP address");
  if (std::find(pod.ips.begin(), pod.ips.end(), *ip) == pod.ips.end()) pod.ips.push_back(*ip);
}

void read_ips(Report& report, const Value& status, Pod& pod) {
  const Value all = status.get("podIPs");
  if (report.array(all)) {
    all.each_item([&](const Value& entry) {
      if (!report.object(entry)) return;
      const Value ip = entry.get("ip");
      read_ip(report, ip, pod);
    });
  }
  // podIP is the first of podIPs, and all that older writers give.
  if (pod.ips.empty()) {
    const Value one = status.get("podIP");
    read_ip(report, one, pod);
  }
}

void read_ports(Report& report, const Value& container, Pod& pod) {
  const Value ports = container.get("ports");
  if (!report.array(ports)) return;
  ports.each_item([&](const Value& entry) {
    if (!report.object(entry)) return;
    const Value name = entry.get("name");
    if (!report.string(name) || name.string().empty()) return;
    if (!is_port_name(name.string())) {
      return report.error(name, name.shown() + " is not a port's name: expected at most 15 of a-z, 0-9 and '-'");
    }
    const Value number = entry.get("containerPort");
    const Value protocol = entry.get("protocol");
    const auto port = read_port_number(report, number);
    const auto of = read_protocol(report, protocol);
    if (port && of) pod.named_ports.edit().push_back({std::string(name.string()), *of, *port});
  });
}

void read_containers(Report& report, const Value& spec, Pod& pod) {
  const Value containers = spec.get("containers");
  if (report.array(containers)) {
    containers.each_item([&](const Value& container) {
      if (report.object(container)) read_ports(report, container, pod);
    });
  }
  const Value init = spec.get("initContainers");
  if (!report.array(init)) return;
  init.each_item([&](const Value& container) {
    if (!report.object(container)) return;
    const Value restart = container.get("restartPolicy");
    if (restart.is_string() && restart.string() == "Always") read_ports(report, container, pod);  // a sidecar (T-16)
  });
}

void read_owner(Report& report, const Value& object, Pod& pod) {
  const Value meta = object.get("metadata");
  const Value owners = meta.get("ownerReferences");
  if (!report.array(owners)) return;
  owners.each_item([&](const Value& owner) {
    if (!report.object(owner)) return;
    const Value controls = owner.get("controller");
    const Value kind = owner.get("kind");
    const Value name = owner.get("name");
    if (!report.boolean(controls) || !controls.boolean() || !report.string(kind) || !report.string(name)) return;
    pod.workload_kind = kind.string();
    pod.workload = name.string();
  });
  // A Deployment names its ReplicaSets "<deployment>-<hash>" and labels their pods with the hash.
  const auto hash = find_label(pod.meta.labels, "pod-template-hash");
  if (pod.workload_kind != "ReplicaSet" || !hash || hash->empty()) return;
  const std::string tail = "-" + std::string(*hash);
  const std::string_view replica_set = pod.workload;
  if (replica_set.size() > tail.size() && replica_set.ends_with(tail)) {
    pod.workload_kind = "Deployment";
    pod.workload = replica_set.substr(0, replica_set.size() - tail.size());
  }
}

}  // namespace

std::optional<Namespace> read_namespace(Report& report, const Value& object) {
  Namespace out;
  if (!read_meta(report, object, Kind::namespace_, out.meta)) return std::nullopt;
  auto& labels = out.meta.labels.edit();
  const auto at =
      std::find_if(labels.begin(), labels.end(), [](const auto& label) { return label.first == name_label; });
  if (at == labels.end()) {
    labels.emplace_back(name_label, out.meta.name);
    std::sort(labels.begin(), labels.end());
  } else if (at->second != out.meta.name) {
    const Value meta = object.get("metadata");
    const Value all = meta.get("labels");
    const Value label = all.get(name_label);
    report.warning(label, label.shown() + " is taken as " + quote(out.meta.name) + ": the label names the namespace");
    at->second = out.meta.name;
  }
  return out;
}

std::optional<Node> read_node(Report& report, const Value& object) {
  Node out;
  if (!read_meta(report, object, Kind::node, out.meta)) return std::nullopt;
  const Value spec = object.get("spec");
  if (report.object(spec)) {
    const Value many = spec.get("podCIDRs");
    const Value one = spec.get("podCIDR");
    if (report.array(many)) many.each_item([&](const Value& value) { read_pod_cidr(report, value, out); });
    read_pod_cidr(report, one, out);
  }
  const Value status = object.get("status");
  if (report.object(status)) {
    const Value addresses = status.get("addresses");
    if (report.array(addresses)) {
      addresses.each_item([&](const Value& entry) { read_address(report, entry, out); });
    }
  }
  return out;
}

std::optional<Pod> read_pod(Report& report, const Value& object) {
  Pod out;
  if (!read_meta(report, object, Kind::pod, out.meta)) return std::nullopt;
  const Value spec = object.get("spec");
  if (report.object(spec)) {
    const Value node = spec.get("nodeName");
    if (report.string(node)) out.node = node.string();
    const Value host = spec.get("hostNetwork");
    if (report.boolean(host)) out.host_network = host.boolean();
    read_containers(report, spec, out);
  }
  const Value status = object.get("status");
  if (report.object(status)) {
    const Value phase = status.get("phase");
    out.phase = read_phase(report, phase);
    read_ips(report, status, out);
  }
  read_owner(report, object, out);
  return out;
}

}  // namespace podfence::api
