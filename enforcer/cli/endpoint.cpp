#include "enforcer/cli/endpoint.h"

#include <algorithm>
#include <charconv>

#include "policy/base/overloaded.h"

namespace podfence::cli {
namespace {

std::string quoted(std::string_view text) {
  return std::string("\"").append(text).append("\"");
}

std::string list_of_ports(const api::Pod& pod, net::Protocol protocol) {
  std::string list;
  for (const api::ContainerPort& port : pod.named_ports) {
    if (port.protocol != protocol) continue;
    list += (list.empty() ? "" : ", ") + port.name + " = " + std::to_string(port.port.number);
  }
  return list.empty() ? "it has none" : "it has " + list;
}

Result<net::Port> named_port(const Endpoint& destination, const std::string& name, net::Protocol protocol) {
  const std::string what = net::text_of(protocol) + " port named " + quoted(name);
  if (destination.pod == nullptr) {
    return fail(Errc::invalid, destination.text + " is no pod: a " + what + " needs one, give a number");
  }
  if (const auto number = destination.pod->named_port(name, protocol)) return *number;
  return fail(Errc::not_found,
              "Pod " + destination.text + " has no " + what + ": " + list_of_ports(*destination.pod, protocol));
}

}  // namespace

Result<Endpoint> find_endpoint(const store::Cluster& cluster, std::string_view text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) {
    const auto ip = net::IpAddr::parse(text);
    if (!ip) return fail(Errc::invalid, quoted(text) + " is neither NAMESPACE/POD nor an IP address");
    return Endpoint{std::string(text), cluster.pod_by_ip(*ip), {*ip}};
  }
  const api::Pod* pod = cluster.find_pod(text.substr(0, slash), text.substr(slash + 1));
  if (pod == nullptr) return fail(Errc::not_found, "there is no Pod " + std::string(text));
  if (pod->terminal()) {
    return fail(Errc::invalid, "Pod " + std::string(text) + " has ended (phase " + std::string(name_of(pod->phase)) +
                                   "): its address may belong to somebody else");
  }
  if (pod->ips.empty()) return fail(Errc::invalid, "Pod " + std::string(text) + " has no address (status.podIPs)");
  return Endpoint{std::string(text), pod, pod->ips};
}

Result<PortQuestion> parse_port(std::string_view text) {
  const bool digits =
      !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (text.empty()) return fail(Errc::invalid, "the port is empty: give a number from 1 to 65535 or a name");
  if (!digits) return PortQuestion{std::string(text)};
  std::uint16_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || number == 0) {
    return fail(Errc::invalid, quoted(text) + " is no port: give a number from 1 to 65535 or a name");
  }
  return PortQuestion{net::Port{number}};
}

Result<net::Port> find_port(const Endpoint& destination, const PortQuestion& port, net::Protocol protocol) {
  if (!net::has_ports(protocol)) {
    if (std::holds_alternative<std::monostate>(port)) return net::Port{};
    return fail(Errc::invalid, net::text_of(protocol) + " has no ports: leave the port out");
  }
  return std::visit(
      overloaded{
          [&](std::monostate) -> Result<net::Port> {
            std::string what = net::text_of(protocol) + " needs a port: give a number from 1 to 65535 or a name";
            if (destination.pod != nullptr) {
              what += " of Pod " + destination.text + " (" + list_of_ports(*destination.pod, protocol) + ")";
            }
            return fail(Errc::invalid, std::move(what));
          },
          [](net::Port number) -> Result<net::Port> { return number; },
          [&](const std::string& name) { return named_port(destination, name, protocol); },
      },
      port);
}

Result<std::vector<net::Flow>> flows_between(const Endpoint& source, const Endpoint& destination,
                                             net::Protocol protocol, net::Port port) {
  std::vector<net::Flow> flows;
  for (const net::Family family : {source.addresses.front().family(), net::Family::ipv4, net::Family::ipv6}) {
    const auto of_family = [family](const net::IpAddr& ip) { return ip.family() == family; };
    const auto from = std::find_if(source.addresses.begin(), source.addresses.end(), of_family);
    const auto to = std::find_if(destination.addresses.begin(), destination.addresses.end(), of_family);
    if (from == source.addresses.end() || to == destination.addresses.end()) continue;
    const bool ping = protocol == net::icmp || protocol == net::icmpv6;
    const net::Protocol used = !ping ? protocol : family == net::Family::ipv4 ? net::icmp : net::icmpv6;
    const net::Flow flow{*from, *to, used, port};
    if (std::find(flows.begin(), flows.end(), flow) == flows.end()) flows.push_back(flow);
  }
  if (flows.empty()) {
    return fail(Errc::invalid, source.text + " and " + destination.text + " have no address of the same family");
  }
  return flows;
}

}  // namespace podfence::cli
