// The network policy log of GKE (policy_action): its users' queries work on our records.
#include "enforcer/flow/fields.h"
#include "enforcer/flow/format.h"

namespace podfence::flow {
namespace {

Fields end_fields(const Endpoint& end) {
  const std::string ip = end.ip ? end.ip->text() : std::string();
  switch (end.type) {
    case EndpointType::pod:
      return {
          {"pod_name", end.k8s.pod},           {"workload_kind", end.k8s.workload_kind},
          {"workload_name", end.k8s.workload}, {"pod_namespace", end.k8s.namespace_},
          {"namespace", end.k8s.namespace_},
      };
    case EndpointType::node:
      return {{"node_name", end.k8s.node}, {"workload_kind", "Node"}};
    case EndpointType::world:
    case EndpointType::unknown:
      break;
  }
  return {{"instance", ip}};
}

std::optional<std::uint64_t> port_of(const Endpoint& end) {
  return end.port ? std::optional<std::uint64_t>(end.port->number) : std::nullopt;
}

std::vector<Fields> policies(const LoggedLine& line) {
  std::vector<Fields> list;
  for (const PolicyRef& policy : line.policies) {
    list.push_back({{"kind", "NetworkPolicy"}, {"name", policy.name}, {"namespace", policy.namespace_}});
  }
  return list;
}

}  // namespace

std::optional<std::string> gke_line(const LoggedLine& line) {
  // It knows these two, and means by them what became of the connection.
  if (line.type != "flow" || (line.verdict != "deny" && line.verdict != "allow")) return std::nullopt;
  return json_of(
      {
          {"connection.src_ip", line.source.ip ? line.source.ip->text() : std::string()},
          {"connection.dest_ip", line.destination.ip ? line.destination.ip->text() : std::string()},
          {"connection.src_port", port_of(line.source)},
          {"connection.dest_port", port_of(line.destination)},
          {"connection.protocol", line.transport},
          {"connection.direction", line.direction},
          {"disposition", line.verdict},
          {"policies", policies(line)},
          {"src", end_fields(line.source)},
          {"dest", end_fields(line.destination)},
          {"count", line.count},
          {"node_name", line.node},
          {"timestamp", text_of(line.time)},
      },
      Texting::escaped);
}

}  // namespace podfence::flow
