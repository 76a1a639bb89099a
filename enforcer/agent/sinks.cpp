#include "enforcer/agent/sinks.h"

#include "enforcer/agent/version.h"
#include "enforcer/sink/otlp.h"
#include "enforcer/sink/syslog.h"

namespace podfence::agent {
namespace {

Result<std::unique_ptr<sink::Sink>> open_otlp(boost::asio::io_context& io, const Config& config) {
  sink::OtlpSettings settings;
  settings.url = *sink::parse_otlp_url(config.otlp);
  settings.ca_file = config.otlp_ca;
  settings.node = config.node;
  settings.cluster = config.cluster;
  settings.version = version;
  if (!config.otlp_headers.empty()) {
    auto headers = sink::read_headers(config.otlp_headers);
    if (!headers) return fail(std::move(headers.error()).in("otlp-headers"));
    settings.headers = std::move(*headers);
  }
  auto otlp = sink::OtlpSink::open(io, std::move(settings));
  if (!otlp) return fail(std::move(otlp.error()).in("otlp-ca"));
  return std::unique_ptr<sink::Sink>(std::move(*otlp));
}

}  // namespace

Result<std::vector<std::unique_ptr<sink::Shipper>>> open_sinks(boost::asio::io_context& io, const Config& config) {
  std::vector<std::unique_ptr<sink::Sink>> sinks;
  if (!config.otlp.empty()) {
    auto otlp = open_otlp(io, config);
    if (!otlp) return fail(otlp.error());
    sinks.push_back(std::move(*otlp));
  }
  if (!config.syslog.empty()) {
    auto target = *sink::parse_syslog_target(config.syslog);
    sinks.push_back(std::make_unique<sink::SyslogSink>(io, std::move(target), config.node));
  }
  if (config.journald) sinks.push_back(std::make_unique<sink::JournaldSink>(io));

  std::vector<std::unique_ptr<sink::Shipper>> shippers;
  for (auto& to : sinks) {
    const std::string name(to->name());
    auto spool = sink::Spool::open(config.flow_log, config.state_dir + "/sinks/" + name + ".json");
    if (!spool) return fail(std::move(spool.error()).in(name));
    shippers.push_back(std::make_unique<sink::Shipper>(io, std::move(*spool), std::move(to)));
  }
  return shippers;
}

}  // namespace podfence::agent
