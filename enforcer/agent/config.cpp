#include "enforcer/agent/agent.h"
#include "enforcer/agent/http.h"
#include "enforcer/flow/record.h"
#include "enforcer/sink/otlp.h"
#include "enforcer/sink/syslog.h"
#include "policy/api/syntax.h"

namespace podfence::agent {

Result<std::string> source_directory(const std::string& source) {
  constexpr std::string_view scheme = "dir:";
  if (source.rfind(scheme, 0) != 0 || source.size() == scheme.size()) {
    return fail(Errc::invalid, "source '" + source + "': expected dir:PATH or kubernetes");
  }
  return source.substr(scheme.size());
}

bool is_kubernetes(const Config& config) {
  return config.source == "kubernetes";
}

std::string checkpoint_file(const Config& config) {
  if (!is_kubernetes(config) || config.checkpoint == "none") return "";
  return config.checkpoint.empty() ? config.state_dir + "/checkpoint" : config.checkpoint;
}

Result<std::vector<std::string>> flow_label_keys(const Config& config) {
  std::vector<std::string> keys;
  std::string_view rest = config.flow_labels;
  while (!rest.empty()) {
    const auto comma = std::min(rest.find(','), rest.size());
    const auto key = rest.substr(0, comma);
    if (!api::is_label_key(key)) {
      return fail(Errc::invalid, "flow-labels '" + config.flow_labels + "': expected keys of labels, joined by commas");
    }
    keys.emplace_back(key);
    rest.remove_prefix(std::min(comma + 1, rest.size()));
  }
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  if (keys.size() > flow::most_labels) {
    return fail(Errc::invalid, "flow-labels: at most " + std::to_string(flow::most_labels) + " keys");
  }
  return keys;
}

Result<> validate(const Config& config) {
  if (!is_kubernetes(config)) {
    if (auto directory = source_directory(config.source); !directory) return fail(directory.error());
    if (!config.kubeconfig.empty() || !config.context.empty() || !config.checkpoint.empty() || config.watch != "auto") {
      return fail(Errc::invalid, "kubeconfig, context, checkpoint, watch: they belong to the source kubernetes");
    }
    if (config.flow_events) return fail(Errc::invalid, "flow-events: it belongs to the source kubernetes");
  }
  if (config.audit_seconds == 0) return fail(Errc::invalid, "audit-seconds must be at least 1");
  if (config.watch != "auto" && config.watch != "cluster" && config.watch != "needed") {
    return fail(Errc::invalid, "watch '" + config.watch + "': expected auto, cluster or needed");
  }
  if (!api::is_dns_subdomain(config.node)) {
    return fail(Errc::invalid, "node '" + config.node + "': expected the node's name, as in spec.nodeName of its pods");
  }
  if (config.program.label_bit > 127) {
    return fail(Errc::invalid, "label-bit " + std::to_string(config.program.label_bit) + ": expected 0 to 127");
  }
  if (config.program.log_source_rate == 0 || config.program.log_node_rate == 0) {
    return fail(Errc::invalid, "log rates must be at least 1 packet per second");
  }
  if (config.flow_log_file_mb == 0 || config.flow_log_total_mb < config.flow_log_file_mb) {
    return fail(Errc::invalid, "flow-log-file-mb must be at least 1, and flow-log-total-mb at least as much");
  }
  if (!config.http_address.empty()) {
    if (auto address = parse_http_address(config.http_address); !address) return fail(address.error());
  }
  if (!config.otlp.empty()) {
    if (auto url = sink::parse_otlp_url(config.otlp); !url) return fail(url.error());
  }
  if (!config.syslog.empty()) {
    if (auto target = sink::parse_syslog_target(config.syslog); !target) return fail(target.error());
  }
  if (auto keys = flow_label_keys(config); !keys) return fail(keys.error());
  const bool ships = !config.otlp.empty() || !config.syslog.empty() || config.journald || config.flow_events;
  if (ships && (config.flow_log.empty() || config.flow_log == "-")) {
    return fail(
        Errc::invalid,
        "otlp, syslog, journald, flow-events: what is not sent yet waits in the flow log, so flow-log must be a file");
  }
  if (config.state_dir.empty()) return fail(Errc::invalid, "state-dir is empty");
  if (const auto file = checkpoint_file(config); !config.checkpoint.empty() && !file.empty() && file.front() != '/') {
    return fail(Errc::invalid, "checkpoint '" + config.checkpoint + "': expected a path from the root, or none");
  }
  if (config.verify_seconds == 0) return fail(Errc::invalid, "verify-seconds must be at least 1");
  return {};
}

compile::Settings settings_of(const Config& config) {
  compile::Settings settings;
  settings.node = config.node;
  settings.options = config.program;
  settings.fail_closed = config.fail_closed;
  return settings;
}

}  // namespace podfence::agent
