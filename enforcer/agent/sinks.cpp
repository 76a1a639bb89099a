#include "enforcer/agent/sinks.h"

#include <cstdlib>

#include "enforcer/agent/version.h"
#include "enforcer/kube/api_client.h"
#include "enforcer/sink/events.h"
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

/// Events go to the API server that the objects come from, with what the same files say.
class KubeEvents final : public sink::EventApi {
 public:
  explicit KubeEvents(std::unique_ptr<kube::ApiClient> client) : client_(std::move(client)) {}
  void call(const sink::EventRequest& request, Done done) override {
    client_->call({request.method, request.path, request.content_type, request.body},
                  [done = std::move(done)](const kube::ApiAnswer& answer) {
                    done({answer.status, answer.retry_after, answer.body, answer.error});
                  });
  }

 private:
  std::unique_ptr<kube::ApiClient> client_;
};

Result<std::unique_ptr<sink::Sink>> open_events(boost::asio::io_context& io, const Config& config,
                                                const std::string& instance) {
  const auto environment = [](const std::string& name) -> std::optional<std::string> {
    const char* value = std::getenv(name.c_str());  // NOLINT(concurrency-mt-unsafe): nobody sets it
    return value == nullptr ? std::nullopt : std::optional<std::string>(value);
  };
  auto where = kubeconfig::load({config.kubeconfig, config.context}, environment);
  if (!where) return fail(std::move(where.error()).in("flow-events"));
  auto client = kube::ApiClient::open(io, std::move(*where), std::string("podfence/") + version);
  if (!client) return fail(std::move(client.error()).in("flow-events"));
  return std::unique_ptr<sink::Sink>(std::make_unique<sink::EventsSink>(
      io, std::make_unique<KubeEvents>(std::move(*client)), sink::EventBook(config.node, instance)));
}

}  // namespace

Result<std::vector<std::unique_ptr<sink::Shipper>>> open_sinks(boost::asio::io_context& io, const Config& config,
                                                               const std::string& instance) {
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
  if (config.flow_events) {
    auto events = open_events(io, config, instance);
    if (!events) return fail(events.error());
    sinks.push_back(std::move(*events));
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
