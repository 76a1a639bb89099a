// The map of the agent: one thread, one io_context.
//
//   Feed (directory or API) ───► Commits ──► kernel, conntrack      Guard (the pods' host interfaces, anti-spoofing)
//                  events          ▲ │
//                     addresses    │ └─on_committed──► FlowPipeline, CniRequests, Guard
//   CniRequests ───────────────────┘
//
//   NFLOG fd ──► FlowPipeline ──► flow log                      Control (unix socket): status, explain, ready, cni.*
//
// Agent::start opens the parts in the order in which they depend on each other; Agent::stop ends them in reverse. The
// rules stay in the kernel.
#include "enforcer/agent/agent.h"

#include <malloc.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <csignal>
#include <memory>
#include <optional>

#include "enforcer/agent/checkpoints.h"
#include "enforcer/agent/cni_requests.h"
#include "enforcer/agent/commits.h"
#include "enforcer/agent/control.h"
#include "enforcer/agent/feed.h"
#include "enforcer/agent/flow_reader.h"
#include "enforcer/agent/guard.h"
#include "enforcer/agent/http.h"
#include "enforcer/agent/metrics.h"
#include "enforcer/agent/observer.h"
#include "enforcer/agent/policy_counters.h"
#include "enforcer/agent/requests.h"
#include "enforcer/agent/sinks.h"
#include "enforcer/agent/status.h"
#include "enforcer/agent/version.h"
#include "enforcer/flow/pipeline.h"
#include "enforcer/sink/shipper.h"
#include "policy/base/json_writer.h"
#include "policy/program/print.h"

namespace podfence::agent {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using namespace std::chrono_literals;

constexpr auto tick = 1s;

/// Differs with every start.
std::string new_instance() {
  const auto now = Clock::now().time_since_epoch().count();
  return fmt::format("{:x}", static_cast<std::uint64_t>(now) ^ (static_cast<std::uint64_t>(::getpid()) << 40U));
}

class Agent final : public Answerer, private CniHost, private Commits::Listener, private Pages, private Feed::Taker {
 public:
  Agent(const Config& config, Explain explain) : config_(config), explain_(explain) {}

  Result<> start();
  void run() { io_.run(); }
  Result<std::string> answer(std::string_view request_json) override;
  void take(std::string_view request_json, Reply reply) override;

 private:
  // In: the source's events (Feed::Taker).
  void take(std::vector<store::Event> events, bool synced) override;
  const store::Cluster& world() const override { return commits_->compiler().cluster(); }
  void compile(std::vector<store::Event> events);
  void resume();

  // What follows from commits (Commits::Listener).
  void on_committed(Clock::time_point begin, Clock::time_point end) override;
  void on_drift_repaired(Clock::time_point when, const std::string& by) override;
  void on_flows_cut() override { cni_->on_flows_cut(); }

  // Beside: denied flows, interfaces, the clock.
  void on_tick();
  std::optional<flow::CounterPackets> counters();
  void stop(int signal);

  // What cni.* requests need (CniHost).
  Result<> open_sandboxes();
  void change(std::vector<store::Event> events, std::span<const net::IpAddr> attached) override;
  bool enforcing() const override { return activity_.enforcing_since.has_value(); }
  std::string trouble() const override { return activity_.last_error; }
  const compile::Compiler& compiler() const override { return commits_->compiler(); }
  kernel::Kernel& kernel() override { return commits_->kernel(); }
  Result<> end_flows(const std::vector<net::IpAddr>& addresses) override { return commits_->end_flows(addresses); }

  StatusInputs status_inputs();
  Page page(std::string_view path) override;
  void serve_pages();
  Result<std::string> answer(const Request& request);
  Result<std::string> answer_explain(const Request& request);

  template <class Then>
  void after(asio::steady_timer& timer, std::chrono::milliseconds pause, Then then) {
    timer.expires_after(pause);
    timer.async_wait([then](error_code ec) {
      if (!ec) then();
    });
  }

  Config config_;
  Explain explain_;
  asio::io_context io_;
  Activity activity_;

  std::unique_ptr<Control> control_;
  std::unique_ptr<HttpServer> http_;
  std::string http_error_;
  std::unique_ptr<Commits> commits_;
  std::unique_ptr<Feed> feed_;
  std::optional<Checkpoints> checkpoints_;
  std::optional<flow::FlowPipeline> flows_;
  std::optional<FlowReader> flow_reader_;
  std::optional<PolicyCounters> policy_counters_;
  std::optional<Observer> observer_;
  std::vector<std::unique_ptr<sink::Shipper>> shippers_;
  std::optional<Guard> guard_;
  std::map<std::uint32_t, flow::PodInterface> interfaces_;  // that the guard found
  std::unique_ptr<sandbox::Registry> sandboxes_;
  std::optional<CniRequests> cni_;

  asio::signal_set signals_{io_, SIGTERM, SIGINT};
  asio::steady_timer tick_timer_{io_};
  bool synced_ = false;
  bool has_read_ = false;  // since the last tick
  std::uint64_t checkpoints_written_ = 0;
};

Result<> Agent::start() {
  activity_.started = Clock::now();
  auto control = Control::listen(io_, config_.socket, *this);  // first: it refuses where another agent runs
  if (!control) return fail(control.error());
  control_ = std::move(*control);

  auto commits = Commits::open(io_, config_, activity_, *this);
  if (!commits) return fail(commits.error());
  commits_ = std::move(*commits);
  policy_counters_.emplace(commits_->kernel(), config_.state_dir);

  flow::PipelineConfig flows;
  flows.node = config_.node;
  flows.cluster = config_.cluster;
  flows.instance = new_instance();
  const std::string instance = flows.instance;
  flows.version = version;
  flows.flow_log = config_.flow_log;
  flows.labels = *flow_label_keys(config_);
  flows.state_dir = config_.state_dir;
  flows.rotate = {config_.flow_log_file_mb << 20U, config_.flow_log_total_mb << 20U};
  flows.nflog.group = config_.program.log_group;
  observer_.emplace(io_, flows, config_.observe, commits_->compiler().cluster(),
                    std::chrono::seconds(config_.verify_seconds));
  flows_.emplace(std::move(flows), commits_->compiler().cluster(), Clock::now());
  flow_reader_.emplace(io_, *flows_);

  auto shippers = open_sinks(io_, config_, instance);
  if (!shippers) return fail(shippers.error());
  shippers_ = std::move(*shippers);
  if (config_.guard_sources) {
    auto guard = Guard::open(config_.node, config_.program);
    if (!guard) return fail(std::move(guard.error()).in("source guard"));
    guard_.emplace(std::move(*guard));
  }

  if (auto opened = open_sandboxes(); !opened) return opened;
  auto feed = open_feed(io_, config_, *this);
  if (!feed) return fail(feed.error());
  feed_ = std::move(*feed);

  serve_pages();
  signals_.async_wait([this](error_code ec, int signal) {
    if (!ec) stop(signal);
  });
  flow_reader_->listen();
  after(tick_timer_, tick, [this] { on_tick(); });
  resume();
  feed_->start();
  return {};
}

/// Finds again what was plugged in before, so that it is closed or known with the first commit.
Result<> Agent::open_sandboxes() {
  auto sandboxes = sandbox::Registry::open(
      {.node = config_.node, .state_dir = config_.state_dir, .results_dir = config_.cni_results});
  if (!sandboxes) return fail(sandboxes.error());
  sandboxes_ = std::move(*sandboxes);
  for (const auto& problem : sandboxes_->problems()) spdlog::warn("event=attachment_unreadable error=\"{}\"", problem);
  cni_.emplace(io_, *sandboxes_, static_cast<CniHost&>(*this));
  commits_->attach(sandboxes_->attachments().addresses());
  cni_->replay_journal();
  return {};
}

void Agent::change(std::vector<store::Event> events, std::span<const net::IpAddr> attached) {
  if (!events.empty()) {
    if (checkpoints_) checkpoints_->before_plugged_in();
    flows_->before_change(events);
    observer_->before_change(events);
    commits_->take(std::move(events));
  }
  commits_->attach(attached);
  commits_->soon();
}

void Agent::take(std::vector<store::Event> events, bool synced) {
  compile(std::move(events));
  synced_ = synced_ || synced;
  if (!synced_) return;
  if (checkpoints_) {
    checkpoints_->followed();
    if (!commits_->started() || commits_->reconciler().waiting()) checkpoints_->before_commit();
  }
  commits_->now();
  if (checkpoints_) checkpoints_->changed();
}

void Agent::compile(std::vector<store::Event> events) {
  has_read_ = true;
  if (events.empty()) return;
  auto joined = sandboxes_->take(std::move(events));
  flows_->before_change(joined);
  observer_->before_change(joined);
  commits_->take(std::move(joined));
}

/// The world of the last checkpoint, until the source has said everything.
void Agent::resume() {
  if (checkpoint_file(config_).empty()) return;
  checkpoints_.emplace(io_, config_, [this](auto& encoder, auto& origin) {
    origin.server = feed_->server();
    describe(world(), config_.node, sandboxes_->join(), feed_->problems(), encoder, origin);
  });
  auto world = checkpoints_->restore([this] {
    const auto held = commits_->kernel().read();
    return !held || held->present;
  });
  if (!world) return;
  const auto& attachments = sandboxes_->attachments();
  forget_stale_addresses(world->events, config_.node, world->origin.boot == checkpoint::boot_id(),
                         [&](const net::IpAddr& ip) { return attachments.claimant(ip) != nullptr; });
  compile(std::move(world->events));
  spdlog::info("event=checkpoint_enforced written={} server=\"{}\"", world->origin.written, world->origin.server);
  feed_->resume(world->origin);
  commits_->now();
}

void Agent::on_committed(Clock::time_point begin, Clock::time_point end) {
  flows_->after_commit(begin, end);
  observer_->after_commit(begin, end);
  policy_counters_->after_commit(commits_->compiler(), end);
  if (guard_) {
    guard_->pods_changed();
    if (cni_->has_new()) guard_->plugged_in(sandboxes_->attachments());  // before its first packet
  }
  cni_->on_committed();
}

void Agent::on_drift_repaired(Clock::time_point when, const std::string& by) {
  flows_->tampered("table inet podfence was changed, and mended", by, when);
  flows_->report({.time = when, .event = "drift_repaired", .detail = by, .policy = {}, .duration_ms = {}});
}

std::optional<flow::CounterPackets> Agent::counters() {
  const auto read = commits_->kernel().counters();
  if (!read) return std::nullopt;
  flow::CounterPackets packets;
  for (const auto& [name, counter] : *read) packets.emplace(name, counter.packets);
  if (!guard_) return packets;
  const auto spoofed = guard_->counters();
  if (!spoofed) return std::nullopt;
  for (const auto& [name, count] : *spoofed) packets.emplace(name, count);
  return packets;
}

void Agent::on_tick() {
  after(tick_timer_, tick, [this] { on_tick(); });
  const std::uint64_t writes = checkpoints_ ? checkpoints_->status().writes : 0;
  const bool has_written = std::exchange(checkpoints_written_, writes) != writes;
  // A file takes much more while it is read or written than what stays.
  if (std::exchange(has_read_, false) || has_written) ::malloc_trim(0);
  if (commits_->started()) {
    const auto counted = counters();
    flows_->on_tick(Clock::now(), counted);
    policy_counters_->on_tick(world(), counted, Clock::now());
  }
  if (observer_->on_tick(Clock::now())) {
    flows_->tampered("table inet podfence_observe was changed, and mended", "", Clock::now());
  }
  flow_reader_->listen();
  serve_pages();
  cni_->replay_journal();
  if (!commits_->started()) return;
  if (guard_) {
    auto found = guard_->on_tick(commits_->compiler().cluster(), sandboxes_->attachments());
    if (found) interfaces_ = std::move(*found);
  }
  auto interfaces = cni_->interfaces();
  interfaces.insert(interfaces_.begin(), interfaces_.end());
  flows_->set_interfaces(interfaces, Clock::now());
  observer_->set_interfaces(interfaces);
}

/// Everything that waits is cancelled, so that run() returns; the destructors do the rest.
void Agent::stop(int signal) {
  spdlog::info("event=stop signal={} rules=kept", signal);
  control_->stop();
  http_.reset();
  commits_->stop();
  flows_->stop(Clock::now(), commits_->started() ? counters() : std::nullopt);
  observer_->stop(Clock::now());
  feed_->stop();
  if (checkpoints_) checkpoints_->stop();
  flow_reader_->stop();
  io_.stop();
}

StatusInputs Agent::status_inputs() {
  StatusInputs in{.version = version,
                  .reconciler = commits_->reconciler(),
                  .activity = activity_,
                  .files = feed_->problems(),
                  .source = config_.source,
                  .flows_json = flow::json_of(flows_->stats()),
                  .unguarded = {},
                  .guard_error = {},
                  .sandboxes = sandboxes_.get(),
                  .expects_cni = config_.cni};
  if (commits_->started()) in.denied = policy_counters_->totals();
  in.types = feed_->types();
  if (checkpoints_) in.checkpoint = checkpoints_->status();
  if (observer_) in.observed = observer_->status();
  for (const auto& shipper : shippers_) in.sinks.push_back(shipper->stats());
  const install::StateFiles installer(config_.state_dir);
  if (auto state = installer.load(); !state.updated.empty() || !state.problem.empty()) in.installer = std::move(state);
  in.http_address = config_.http_address;
  in.http_error = http_error_;
  if (guard_) {
    in.unguarded = guard_->unguarded();
    in.guard_error = guard_->error();
  }
  return in;
}

/// Whoever has the address keeps nobody from enforcing: it is tried again.
void Agent::serve_pages() {
  if (config_.http_address.empty() || http_) return;
  auto server = HttpServer::listen(io_, *parse_http_address(config_.http_address), *this);
  const auto error = server ? "" : server.error().what();
  if (!error.empty() && error != http_error_) spdlog::warn("event=http_not_served error=\"{}\"", error);
  http_error_ = error;
  if (server) http_ = std::move(*server);
}

/// That the loop answers is what /livez is about: it asks nobody else, so that an outage elsewhere restarts no agent.
Page Agent::page(std::string_view path) {
  if (path == "/metrics") {
    return {200, "text/plain; version=0.0.4; charset=utf-8", metrics_text({status_inputs(), flows_->stats()})};
  }
  if (path == "/livez") return {.body = "ok\n"};
  if (path == "/readyz") {
    if (enforcing()) return {.body = "ok\n"};
    return {.status = 503, .body = "starting: nothing is enforced yet\n"};
  }
  if (path == "/statusz") return {200, "application/json", status_json(status_inputs()) + "\n"};
  return {.status = 404, .body = "/metrics /livez /readyz /statusz\n"};
}

Result<std::string> Agent::answer(std::string_view request_json) {
  const auto request = parse_request(request_json);
  if (!request) return fail(request.error());
  return answer(*request);
}

void Agent::take(std::string_view request_json, Reply reply) {
  const auto request = parse_request(request_json);
  if (!request) return reply.send(fail(request.error()));
  if (CniRequests::is_ours(*request)) return cni_->take(*request, std::move(reply));
  reply.send(answer(*request));
}

Result<std::string> Agent::answer(const Request& request) {
  if (request.command == "ready") {
    return std::string(activity_.enforcing_since ? R"({"ready":true})" : R"({"ready":false})");
  }
  if (request.command == "status") return status_json(status_inputs());
  if (request.command == "explain") return answer_explain(request);
  if (request.command == "flow_log") {
    std::string out;
    JsonWriter json(out);
    json.begin_object().field("path", config_.flow_log).field("allowed", allowed_flow_log(config_.flow_log));
    json.field("labels", config_.flow_labels).end_object();
    return out;
  }
  return fail(Errc::invalid, "unknown command '" + request.command + "'");
}

Result<std::string> Agent::answer_explain(const Request& request) {
  const auto answer = explain_(commits_->compiler().cluster(), {.source = request.text("source"),
                                                                .destination = request.text("destination"),
                                                                .json = request.flag("json"),
                                                                .fail_closed = config_.fail_closed,
                                                                .node = config_.node,
                                                                .attached = commits_->compiler().attached()});
  std::string out;
  JsonWriter(out).begin_object().field("exit_code", answer.exit_code).field("output", answer.output).end_object();
  return out;
}

}  // namespace

Result<> run(const Config& config, Explain explain) {
  if (auto valid = validate(config); !valid) return valid;
  spdlog::set_default_logger(spdlog::stderr_logger_st("podfence"));
  spdlog::set_pattern("time=%Y-%m-%dT%H:%M:%S.%f%z level=%l %v");
  std::signal(SIGPIPE, SIG_IGN);
  Agent agent(config, explain);
  if (auto started = agent.start(); !started) return started;
  agent.run();
  return {};
}

}  // namespace podfence::agent
