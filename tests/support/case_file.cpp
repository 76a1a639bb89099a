#include "tests/support/case_file.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cctype>
#include <stdexcept>

#include "policy/api/decode.h"
#include "policy/base/overloaded.h"
#include "tests/support/yaml_json.h"

namespace podfence::test {
namespace {

namespace fs = std::filesystem;

/// Where in the file something is wrong.
struct Place {
  std::string file;
  [[noreturn]] void complain(const YAML::Node& node, const std::string& what) const {
    throw std::runtime_error(file + ":" + std::to_string(node.Mark().line + 1) + ": " + what);
  }
};

void only_keys(const Place& place, const YAML::Node& map, const std::vector<std::string>& allowed) {
  if (!map.IsMap()) place.complain(map, "expected a map");
  for (const auto& entry : map) {
    const auto key = entry.first.as<std::string>();
    if (std::find(allowed.begin(), allowed.end(), key) == allowed.end()) {
      place.complain(entry.first, "unknown key " + key);
    }
  }
}

/// A scalar or a list of scalars.
std::vector<std::string> texts(const YAML::Node& node) {
  if (!node || node.IsNull()) return {};
  if (node.IsScalar()) return {node.as<std::string>()};
  return node.as<std::vector<std::string>>();
}

struct Context {
  Place place;
  std::string node;
};

net::Port port_of(const Place& place, const YAML::Node& near, const std::string& text) {
  const int number = std::stoi(text);
  if (number < 0 || number > 65535) place.complain(near, "port " + text);
  return net::Port{static_cast<std::uint16_t>(number)};
}

bool are_of_two_families(const std::string& from, const std::string& to) {
  const auto source = net::IpAddr::parse(from);
  const auto destination = net::IpAddr::parse(to);
  return source && destination && source->family() != destination->family();
}

std::vector<CaseFlow> read_flow(const Context& context, const YAML::Node& yaml) {
  const Place& place = context.place;
  only_keys(place, yaml,
            {"from", "to", "port", "protocol", "verdict", "family", "at", "policies", "reason", "because"});
  CaseFlow flow;
  flow.at = context.node;
  if (yaml["at"]) flow.at = yaml["at"].as<std::string>() == "everywhere" ? "" : yaml["at"].as<std::string>();
  if (yaml["protocol"]) {
    const auto protocol = net::parse_protocol(yaml["protocol"].as<std::string>());
    if (!protocol) place.complain(yaml["protocol"], protocol.error().what());
    flow.protocol = *protocol;
  }
  if (yaml["family"]) flow.family = yaml["family"].as<int>() == 6 ? net::Family::ipv6 : net::Family::ipv4;
  const auto verdict = yaml["verdict"] ? yaml["verdict"].as<std::string>() : "";
  if (verdict != "allow" && verdict != "deny") place.complain(yaml, "verdict: allow or deny");
  flow.allowed = verdict == "allow";
  if (yaml["policies"]) {
    flow.policies = texts(yaml["policies"]);
    std::sort(flow.policies->begin(), flow.policies->end());
  }
  if (yaml["reason"]) flow.reason = yaml["reason"].as<std::string>();

  const auto ports = net::has_ports(flow.protocol) ? texts(yaml["port"]) : std::vector<std::string>{"0"};
  if (ports.empty()) place.complain(yaml, "a port is needed");
  std::vector<CaseFlow> flows;
  for (const auto& from : texts(yaml["from"])) {
    for (const auto& to : texts(yaml["to"])) {
      if (are_of_two_families(from, to)) continue;
      for (const auto& port : ports) {
        flow.from = from;
        flow.to = to;
        flow.port = port_of(place, yaml, port);
        flows.push_back(flow);
      }
    }
  }
  if (flows.empty()) place.complain(yaml, "from and to are needed");
  return flows;
}

/// Objects through both decoders, which must agree.
void read_objects(const Context& context, const YAML::Node& list, CaseStep& step) {
  if (!list || list.IsNull() || list.size() == 0) return;
  const std::string text = R"({"apiVersion":"v1","kind":"List","items":)" + to_json(list) + "}";
  auto decoded = api::decode_yaml(context.place.file, text);
  const auto twin = api::decode_json(context.place.file, text);
  if (!decoded || !twin) {
    step.errors.push_back(!decoded ? decoded.error().what() : twin.error().what());
    return;
  }
  if (decoded->objects != twin->objects) step.errors.emplace_back("decode_yaml and decode_json give different objects");
  for (const auto& finding : decoded->diagnostics) {
    if (finding.severity == api::Severity::error) step.errors.push_back(finding.text());
  }
  for (auto& object : decoded->objects) step.events.emplace_back(store::Upsert{std::move(object)});
}

void read_deletes(const Context& context, const YAML::Node& list, CaseStep& step) {
  for (const auto& yaml : list) {
    only_keys(context.place, yaml, {"kind", "namespace", "name", "uid"});
    const auto kind_name = yaml["kind"].as<std::string>();
    std::optional<api::Kind> kind;
    for (const auto one : {api::Kind::namespace_, api::Kind::node, api::Kind::pod, api::Kind::network_policy}) {
      if (api::name_of(one) == kind_name) kind = one;
    }
    if (!kind) context.place.complain(yaml, "kind " + kind_name);
    const auto text_of = [&](const char* key) { return yaml[key] ? yaml[key].as<std::string>() : std::string(); };
    step.events.emplace_back(store::Remove{{*kind, text_of("namespace"), text_of("name")}, text_of("uid")});
  }
}

void read_flows(const Context& context, const YAML::Node& yaml, CaseStep& step) {
  step.expect_errors = texts(yaml["expect_errors"]);
  for (const auto& flow : yaml["flows"]) {
    const auto flows = read_flow(context, flow);
    step.flows.insert(step.flows.end(), flows.begin(), flows.end());
  }
  if (step.flows.empty()) context.place.complain(yaml, "no flows: the step can show nothing");
}

Case read_case(const Context& file, const YAML::Node& yaml, const std::vector<YAML::Node>& base) {
  only_keys(file.place, yaml,
            {"case", "rows", "node", "fail_closed", "golden", "objects", "expect_errors", "flows", "then"});
  Case made;
  made.file = fs::path(file.place.file).stem().string();
  made.name = yaml["case"].as<std::string>();
  made.rows = texts(yaml["rows"]);
  made.node = yaml["node"] ? yaml["node"].as<std::string>() : file.node;
  if (yaml["fail_closed"]) made.fail_closed = yaml["fail_closed"].as<bool>();
  if (yaml["golden"]) made.golden = yaml["golden"].as<std::string>();
  const Context context{file.place, made.node};

  CaseStep first;
  first.name = "at first";
  for (const auto& objects : base) read_objects(context, objects, first);
  read_objects(context, yaml["objects"], first);
  read_flows(context, yaml, first);
  made.steps.push_back(std::move(first));
  for (const auto& then : yaml["then"]) {
    only_keys(file.place, then, {"step", "upsert", "delete", "unchanged", "expect_errors", "flows"});
    CaseStep step;
    step.name = then["step"].as<std::string>();
    if (then["unchanged"]) step.unchanged = then["unchanged"].as<bool>();
    read_deletes(context, then["delete"], step);
    read_objects(context, then["upsert"], step);
    read_flows(context, then, step);
    made.steps.push_back(std::move(step));
  }
  return made;
}

std::vector<net::IpAddr> addresses_of(const std::string& end, const store::Cluster& cluster) {
  if (auto ip = net::IpAddr::parse(end)) return {*ip};
  const auto slash = end.find('/');
  const api::Pod* pod =
      slash == std::string::npos ? nullptr : cluster.find_pod(end.substr(0, slash), end.substr(slash + 1));
  if (pod == nullptr) throw std::runtime_error("no such pod: " + end);
  return pod->ips;
}

}  // namespace

std::string CaseFlow::text() const {
  std::string text = from + " -> " + to;
  if (net::has_ports(protocol)) text += ":" + std::to_string(port.number);
  text += "/" + net::text_of(protocol);
  if (family) text += *family == net::Family::ipv6 ? " (IPv6)" : " (IPv4)";
  return text + (at.empty() ? " everywhere" : " at " + at);
}

std::string Case::slug() const {
  std::string text = file;
  for (const auto& row : rows) text += "_" + row;
  text += "_" + name;
  for (char& c : text) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  }
  return text;
}

std::vector<Case> load_case_file(const fs::path& file) {
  Context context{{file.string()}, ""};
  std::vector<Case> cases;
  try {
    const YAML::Node yaml = YAML::LoadFile(file.string());
    only_keys(context.place, yaml, {"world", "node", "objects", "cases"});
    if (yaml["node"]) context.node = yaml["node"].as<std::string>();
    std::vector<YAML::Node> base;
    if (yaml["world"]) {
      const auto world = file.parent_path() / "worlds" / (yaml["world"].as<std::string>() + ".yaml");
      base.push_back(YAML::LoadFile(world.string()));
    }
    if (yaml["objects"]) base.push_back(yaml["objects"]);
    for (const auto& one : yaml["cases"]) cases.push_back(read_case(context, one, base));
  } catch (const YAML::Exception& error) {
    throw std::runtime_error(context.place.file + ": " + error.what());
  }
  if (cases.empty()) throw std::runtime_error(context.place.file + ": no cases");
  return cases;
}

std::vector<Case> load_cases(const fs::path& directory) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(directory)) {
    if (entry.path().extension() == ".yaml") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  if (files.empty()) throw std::runtime_error(directory.string() + ": no case files");
  std::vector<Case> cases;
  for (const auto& file : files) {
    auto more = load_case_file(file);
    cases.insert(cases.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  }
  return cases;
}

std::vector<net::Flow> flows_of(const CaseFlow& flow, const store::Cluster& cluster) {
  std::vector<net::Flow> flows;
  for (const auto& source : addresses_of(flow.from, cluster)) {
    for (const auto& destination : addresses_of(flow.to, cluster)) {
      if (source.family() != destination.family()) continue;
      if (flow.family && *flow.family != source.family()) continue;
      // A pod that talks to itself does so from the address it calls.
      if (flow.from == flow.to && source != destination) continue;
      const bool six = source.family() == net::Family::ipv6;
      const auto protocol = flow.protocol == net::icmp && six ? net::icmpv6 : flow.protocol;
      flows.push_back({source, destination, protocol, flow.port});
    }
  }
  return flows;
}

Case only_ipv6(Case original) {
  const auto is_ipv4 = [](const auto& ip) { return ip.family() == net::Family::ipv4; };
  for (auto& step : original.steps) {
    for (auto& event : step.events) {
      auto* upsert = std::get_if<store::Upsert>(&event);
      if (upsert == nullptr) continue;
      if (auto* pod = std::get_if<api::Pod>(&upsert->object)) {
        pod->ips.erase(std::remove_if(pod->ips.begin(), pod->ips.end(), is_ipv4), pod->ips.end());
      } else if (auto* node = std::get_if<api::Node>(&upsert->object)) {
        auto& ips = node->addresses;
        ips.erase(std::remove_if(ips.begin(), ips.end(), is_ipv4), ips.end());
        auto& ranges = node->pod_cidrs;
        ranges.erase(std::remove_if(ranges.begin(), ranges.end(), is_ipv4), ranges.end());
      }
    }
    auto& flows = step.flows;
    const auto needs_ipv4 = [&](const CaseFlow& flow) {
      const auto from = net::IpAddr::parse(flow.from);
      const auto to = net::IpAddr::parse(flow.to);
      return (from && is_ipv4(*from)) || (to && is_ipv4(*to)) || flow.family == net::Family::ipv4;
    };
    flows.erase(std::remove_if(flows.begin(), flows.end(), needs_ipv4), flows.end());
  }
  return original;
}

}  // namespace podfence::test
