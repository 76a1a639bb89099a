// The map of the agent: one thread, one io_context.
//
//   DirectorySource ──events──► Reconciler ──commit──► NftKernel ◄──read── Reconciler::verify
//     (inotify fd)                  │                                          ▲
//                                   │ may_cut_flows                        Watch (nftables notifications)
//                                   ▼
//                              conntrack::revoke                Guard (the pods' host interfaces, anti-spoofing)
//
//   NFLOG fd ──► FlowPipeline ──► flow log                      Control (unix socket): status, explain, ready
//
// Agent::start opens the parts in the order in which they depend on each other; Agent::stop ends them in reverse. The
// rules stay in the kernel.
#include "enforcer/agent/agent.h"

#include <linux/netlink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <csignal>
#include <memory>
#include <optional>

#include "enforcer/agent/cni_requests.h"
#include "enforcer/agent/control.h"
#include "enforcer/agent/guard.h"
#include "enforcer/agent/requests.h"
#include "enforcer/agent/status.h"
#include "enforcer/agent/version.h"
#include "enforcer/conntrack/revoke.h"
#include "enforcer/flow/pipeline.h"
#include "enforcer/kernel/nft_kernel.h"
#include "enforcer/kernel/watch.h"
#include "enforcer/source/directory_source.h"
#include "policy/base/json_writer.h"
#include "policy/program/print.h"
#include "policy/program/trace.h"

namespace podfence::agent {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using namespace std::chrono_literals;
using Descriptor = asio::posix::stream_descriptor;

constexpr auto first_pause = 50ms;    // after a commit that has to be tried again
constexpr auto longest_pause = 5s;    // the pause doubles up to here
constexpr auto event_pause = 10ms;    // files come in bursts: take them together
constexpr auto foreign_pause = 20ms;  // and so do foreign changes
constexpr auto revoke_pause = 100ms;  // between walks of conntrack
constexpr auto tick = 1s;

/// Differs with every start.
std::string new_instance() {
  const auto now = Clock::now().time_since_epoch().count();
  return fmt::format("{:x}", static_cast<std::uint64_t>(now) ^ (static_cast<std::uint64_t>(::getpid()) << 40U));
}

std::optional<FileProblem> problem_of(const source::FileStatus& file) {
  if (!file.has_errors() && !file.stale) return std::nullopt;
  FileProblem problem{file.file, file.stale, {}};
  for (const auto& diagnostic : file.diagnostics) {
    if (diagnostic.severity == api::Severity::error) problem.messages.push_back(diagnostic.text());
  }
  return problem;
}

class Agent final : public Answerer, private CniHost {
 public:
  Agent(const Config& config, Explain explain) : config_(config), explain_(explain) {}

  Result<> start();
  void run() { io_.run(); }
  Result<std::string> answer(std::string_view request_json) override;
  void take(std::string_view request_json, Reply reply) override;

 private:
  // In: the source's events.
  void on_source();
  void take(source::Batch batch);

  // Out: commits and what follows from them.
  void reconcile();
  void on_outcome(const Outcome& outcome, Clock::time_point begin);
  void retry_later(const std::string& error);
  void verify(std::string by);
  void on_kernel_news();
  void revoke_soon();
  void revoke();

  // Beside: denied flows, interfaces, the clock.
  void on_tick();
  void on_flows();
  void listen_to_flows();
  std::optional<flow::CounterPackets> counters();
  void stop(int signal);

  // What cni.* requests need (CniHost).
  Result<> open_sandboxes();
  void change(std::span<const store::Event> events, std::span<const net::IpAddr> attached) override;
  void commit_soon();
  bool enforcing() const override { return activity_.enforcing_since.has_value(); }
  std::string trouble() const override { return activity_.last_error; }
  const compile::Compiler& compiler() const override { return reconciler_->compiler(); }
  kernel::Kernel& kernel() override { return *kernel_; }
  Result<> end_flows(const std::vector<net::IpAddr>& addresses) override;

  StatusInputs status_inputs();
  Result<std::string> answer(const Request& request);
  Result<std::string> answer_explain(const Request& request);

  template <class Then>
  void after(asio::steady_timer& timer, std::chrono::milliseconds pause, Then then) {
    timer.expires_after(pause);
    timer.async_wait([then](error_code ec) {
      if (!ec) then();
    });
  }
  /// Calls `then` each time the descriptor is readable.
  void each_time(Descriptor& descriptor, void (Agent::*then)()) {
    descriptor.async_wait(Descriptor::wait_read, [this, &descriptor, then](error_code ec) {
      if (ec) return;
      (this->*then)();
      if (descriptor.is_open()) each_time(descriptor, then);
    });
  }

  Config config_;
  Explain explain_;
  asio::io_context io_;
  Activity activity_;

  std::unique_ptr<Control> control_;
  std::unique_ptr<kernel::NftKernel> kernel_;
  std::optional<kernel::Watch> watch_;
  std::optional<Reconciler> reconciler_;
  std::optional<source::DirectorySource> source_;
  std::optional<flow::FlowPipeline> flows_;
  std::optional<netlink::Socket> conntrack_;
  std::optional<Guard> guard_;
  std::map<std::uint32_t, flow::PodInterface> interfaces_;  // that the guard found
  std::unique_ptr<sandbox::Registry> sandboxes_;
  std::optional<CniRequests> cni_;

  asio::signal_set signals_{io_, SIGTERM, SIGINT};
  Descriptor source_fd_{io_};
  Descriptor watch_fd_{io_};
  Descriptor flows_fd_{io_};
  asio::steady_timer source_timer_{io_};
  asio::steady_timer retry_timer_{io_};
  asio::steady_timer verify_timer_{io_};
  asio::steady_timer foreign_timer_{io_};
  asio::steady_timer revoke_timer_{io_};
  asio::steady_timer tick_timer_{io_};
  std::chrono::milliseconds pause_{first_pause};
  bool synced_ = false;
  bool source_waiting_ = false;
  bool revoke_waiting_ = false;
  bool commit_waiting_ = false;
};

Result<> Agent::start() {
  activity_.started = Clock::now();
  const auto directory = source_directory(config_.source);
  if (!directory) return fail(directory.error());

  auto control = Control::listen(io_, config_.socket, *this);  // first: it refuses where another agent runs
  if (!control) return fail(control.error());
  control_ = std::move(*control);

  auto kernel = kernel::NftKernel::open({.own_table = config_.own_table});
  if (!kernel) return fail(std::move(kernel.error()).in("nftables"));
  kernel_ = std::move(*kernel);
  auto watch = kernel::Watch::open(kernel_->port_id());
  if (!watch) return fail(std::move(watch.error()).in("nftables notifications"));
  watch_.emplace(std::move(*watch));
  auto conntrack = netlink::Socket::open(NETLINK_NETFILTER);
  if (!conntrack) return fail(std::move(conntrack.error()).in("conntrack"));
  conntrack_.emplace(std::move(*conntrack));

  reconciler_.emplace(settings_of(config_), *kernel_);
  flow::PipelineConfig flows;
  flows.node = config_.node;
  flows.cluster = config_.cluster;
  flows.instance = new_instance();
  flows.version = version;
  flows.flow_log = config_.flow_log;
  flows.state_dir = config_.state_dir;
  flows.nflog.group = config_.program.log_group;
  flows_.emplace(std::move(flows), reconciler_->compiler().cluster(), Clock::now());

  if (config_.guard_sources) {
    auto guard = Guard::open(config_.node, config_.program);
    if (!guard) return fail(std::move(guard.error()).in("source guard"));
    guard_.emplace(std::move(*guard));
  }

  if (auto opened = open_sandboxes(); !opened) return opened;
  auto source = source::DirectorySource::open(*directory);
  if (!source) return fail(std::move(source.error()).in(config_.source));
  source_.emplace(std::move(*source));

  signals_.async_wait([this](error_code ec, int signal) {
    if (!ec) stop(signal);
  });
  source_fd_.assign(source_->fd());
  each_time(source_fd_, &Agent::on_source);
  watch_fd_.assign(watch_->fd());
  each_time(watch_fd_, &Agent::on_kernel_news);
  listen_to_flows();
  after(tick_timer_, tick, [this] { on_tick(); });
  after(verify_timer_, std::chrono::seconds(config_.verify_seconds), [this] { verify("timer"); });
  asio::post(io_, [this] { take(source_->rescan()); });
  return {};
}

void Agent::on_source() {
  if (source_waiting_) return;
  source_waiting_ = true;
  after(source_timer_, event_pause, [this] {
    source_waiting_ = false;
    take(source_->poll());
  });
}

/// Finds again what was plugged in before, so that it is closed or known with the first commit.
Result<> Agent::open_sandboxes() {
  auto sandboxes = sandbox::Registry::open(
      {.node = config_.node, .state_dir = config_.state_dir, .results_dir = config_.cni_results});
  if (!sandboxes) return fail(sandboxes.error());
  sandboxes_ = std::move(*sandboxes);
  for (const auto& problem : sandboxes_->problems()) spdlog::warn("event=attachment_unreadable error=\"{}\"", problem);
  cni_.emplace(io_, *sandboxes_, static_cast<CniHost&>(*this));
  reconciler_->attach(sandboxes_->attachments().addresses());
  cni_->replay_journal();
  return {};
}

void Agent::change(std::span<const store::Event> events, std::span<const net::IpAddr> attached) {
  if (!events.empty()) {
    flows_->before_change(events);
    reconciler_->take(events);
  }
  reconciler_->attach(attached);
  commit_soon();
}

/// After the requests that are here already: they share the commit.
void Agent::commit_soon() {
  if (commit_waiting_) return;
  commit_waiting_ = true;
  asio::post(io_, [this] {
    commit_waiting_ = false;
    if (!synced_) return;
    if (reconciler_->started() && !reconciler_->waiting()) return cni_->on_committed();
    reconcile();
  });
}

void Agent::take(source::Batch batch) {
  if (!batch.events.empty()) {
    const auto events = sandboxes_->take(batch.events);
    flows_->before_change(events);
    reconciler_->take(events);
  }
  synced_ = synced_ || batch.synced;
  if (synced_) reconcile();
}

void Agent::reconcile() {
  if (reconciler_->started() && !reconciler_->waiting()) return;
  const auto begin = Clock::now();
  on_outcome(reconciler_->reconcile(), begin);
}

void Agent::on_outcome(const Outcome& outcome, Clock::time_point begin) {
  if (outcome.kind == Outcome::Kind::retry) return retry_later(outcome.error);
  const auto end = Clock::now();
  pause_ = first_pause;
  retry_timer_.cancel();
  activity_.last_error.clear();
  activity_.last_commit_operations = outcome.operations;
  if (outcome.kind == Outcome::Kind::committed) ++activity_.commits;
  activity_.last_commit = end;
  activity_.last_commit_took = std::chrono::duration_cast<std::chrono::microseconds>(end - begin);
  if (!activity_.enforcing_since) {
    activity_.enforcing_since = end;
    const auto sizes = reconciler_->compiler().sizes();
    spdlog::info("event=enforcing node={} local_pods={} policies={} classes={} operations={} installed={} took_us={}",
                 config_.node, sizes.local_pods, sizes.relevant_policies, sizes.classes, outcome.operations,
                 outcome.installed, activity_.last_commit_took.count());
    revoke_soon();  // what changed while nobody looked
  } else if (outcome.operations != 0 || outcome.installed) {
    spdlog::info("event=commit operations={} installed={} took_us={} withheld={}", outcome.operations,
                 outcome.installed, activity_.last_commit_took.count(), reconciler_->withheld().size());
  }
  flows_->after_commit(begin, end);
  cni_->on_committed();
  if (outcome.may_cut_flows) revoke_soon();
  if (guard_) guard_->pods_changed();
}

void Agent::retry_later(const std::string& error) {
  activity_.last_error = error;
  spdlog::warn("event=commit_failed error=\"{}\" retry_in_ms={}", error, pause_.count());
  after(retry_timer_, pause_, [this] { reconcile(); });
  pause_ = std::min<std::chrono::milliseconds>(pause_ * 2, longest_pause);
}

void Agent::on_kernel_news() {
  auto news = watch_->drain();
  if (!news) return spdlog::warn("event=notifications_lost error=\"{}\"", news.error().what());
  if (!news->changed) return;
  after(foreign_timer_, foreign_pause, [this, by = news->by] { verify(by); });
}

/// Reads back and repairs. `by` is who changed something, or "timer".
void Agent::verify(std::string by) {
  if (by == "timer") after(verify_timer_, std::chrono::seconds(config_.verify_seconds), [this] { verify("timer"); });
  if (!reconciler_->started()) return;
  const auto begin = Clock::now();
  const auto outcome = reconciler_->verify();
  if (outcome.repaired != 0) {
    ++activity_.drift_repairs;
    activity_.drift_operations += outcome.repaired;
    activity_.last_drift = Clock::now();
    spdlog::warn("event=drift_repaired by=\"{}\" operations={} installed={}", by, outcome.repaired, outcome.installed);
    flows_->report(
        {.time = *activity_.last_drift, .event = "drift_repaired", .detail = by, .policy = {}, .duration_ms = {}});
  }
  on_outcome(outcome, begin);
}

void Agent::revoke_soon() {
  if (!config_.revoke_established || revoke_waiting_) return;
  revoke_waiting_ = true;
  after(revoke_timer_, revoke_pause, [this] {
    revoke_waiting_ = false;
    revoke();
  });
}

void Agent::revoke() {
  std::optional<program::Program> program;  // made for the first flow that carries the label: often there is none
  std::optional<program::Tracer> tracer;
  const auto still_allowed = [&](const net::Flow& flow) {
    if (!program) {
      program = reconciler_->compiler().program();
      tracer.emplace(program->options);
    }
    return tracer->run(*program, program::first_packet(flow)).accepted;
  };
  const auto revoked = conntrack::revoke(*conntrack_, config_.program.label_bit, still_allowed);
  activity_.revoke_error = revoked ? "" : revoked.error().what();
  if (!revoked) {
    spdlog::warn("event=revoke_failed error=\"{}\"", revoked.error().what());
    return revoke_soon();
  }
  cni_->on_flows_cut();
  activity_.flows_revoked += revoked->cleared;
  if (revoked->cleared != 0) {
    spdlog::info("event=flows_revoked walked={} labelled={} revoked={}", revoked->walked, revoked->labelled,
                 revoked->cleared);
  }
}

Result<> Agent::end_flows(const std::vector<net::IpAddr>& addresses) {
  const auto still_allowed = [&](const net::Flow& flow) {
    return !std::binary_search(addresses.begin(), addresses.end(), flow.source) &&
           !std::binary_search(addresses.begin(), addresses.end(), flow.destination);
  };
  const auto ended = conntrack::revoke(*conntrack_, config_.program.label_bit, still_allowed);
  if (!ended) return fail(ended.error());
  activity_.flows_revoked += ended->cleared;
  return {};
}

void Agent::listen_to_flows() {
  if (flows_fd_.is_open() && flows_fd_.native_handle() == flows_->fd()) return;
  if (flows_fd_.is_open()) flows_fd_.release();
  if (flows_->fd() < 0) return;
  flows_fd_.assign(flows_->fd());
  each_time(flows_fd_, &Agent::on_flows);
}

void Agent::on_flows() {
  flows_->on_readable(Clock::now());
}

std::optional<flow::CounterPackets> Agent::counters() {
  const auto read = kernel_->counters();
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
  if (reconciler_->started()) flows_->on_tick(Clock::now(), counters());
  listen_to_flows();
  cni_->replay_journal();
  if (!reconciler_->started()) return;
  if (guard_) {
    if (auto found = guard_->refresh(reconciler_->compiler().cluster())) interfaces_ = std::move(*found);
  }
  auto interfaces = cni_->interfaces();
  interfaces.insert(interfaces_.begin(), interfaces_.end());
  flows_->set_interfaces(interfaces, Clock::now());
}

/// Everything that waits is cancelled, so that run() returns; the destructors do the rest.
void Agent::stop(int signal) {
  spdlog::info("event=stop signal={} rules=kept", signal);
  control_->stop();
  flows_->stop(Clock::now(), reconciler_->started() ? counters() : std::nullopt);
  for (auto* descriptor : {&source_fd_, &watch_fd_, &flows_fd_}) {
    if (descriptor->is_open()) descriptor->release();
  }
  io_.stop();
}

StatusInputs Agent::status_inputs() {
  StatusInputs in{.version = version,
                  .reconciler = *reconciler_,
                  .activity = activity_,
                  .files = {},
                  .source = config_.source,
                  .flows_json = flow::json_of(flows_->stats()),
                  .unguarded = {},
                  .guard_error = {},
                  .sandboxes = sandboxes_.get(),
                  .expects_cni = config_.cni};
  for (const auto& file : source_->files()) {
    if (auto problem = problem_of(file)) in.files.push_back(std::move(*problem));
  }
  if (guard_) {
    in.unguarded = guard_->unguarded();
    in.guard_error = guard_->error();
  }
  return in;
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
    JsonWriter(out).begin_object().field("path", config_.flow_log).end_object();
    return out;
  }
  return fail(Errc::invalid, "unknown command '" + request.command + "'");
}

Result<std::string> Agent::answer_explain(const Request& request) {
  const auto answer = explain_(reconciler_->compiler().cluster(), {.source = request.text("source"),
                                                                   .destination = request.text("destination"),
                                                                   .json = request.flag("json"),
                                                                   .fail_closed = config_.fail_closed,
                                                                   .node = config_.node,
                                                                   .attached = reconciler_->compiler().attached()});
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
