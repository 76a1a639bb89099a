#include "enforcer/agent/commits.h"

#include <linux/netlink.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/asio/post.hpp>

#include "enforcer/conntrack/revoke.h"
#include "policy/program/trace.h"

namespace podfence::agent {
namespace {

using namespace std::chrono_literals;

constexpr auto first_pause = 50ms;    // after a commit that has to be tried again
constexpr auto longest_pause = 5s;    // the pause doubles up to here
constexpr auto foreign_pause = 20ms;  // foreign changes come in bursts: look once
constexpr auto revoke_pause = 100ms;  // between walks of conntrack

}  // namespace

Result<std::unique_ptr<Commits>> Commits::open(boost::asio::io_context& io, const Config& config, Activity& activity,
                                               Listener& listener) {
  auto kernel = kernel::NftKernel::open({.own_table = config.own_table});
  if (!kernel) return fail(std::move(kernel.error()).in("nftables"));
  auto watch = kernel::Watch::open((*kernel)->port_id());
  if (!watch) return fail(std::move(watch.error()).in("nftables notifications"));
  auto conntrack = netlink::Socket::open(NETLINK_NETFILTER);
  if (!conntrack) return fail(std::move(conntrack.error()).in("conntrack"));
  return std::unique_ptr<Commits>(
      new Commits(io, config, activity, listener, std::move(*kernel), std::move(*watch), std::move(*conntrack)));
}

Commits::Commits(boost::asio::io_context& io, const Config& config, Activity& activity, Listener& listener,
                 std::unique_ptr<kernel::NftKernel> kernel, kernel::Watch watch, netlink::Socket conntrack)
    : io_(io),
      config_(config),
      activity_(activity),
      listener_(listener),
      kernel_(std::move(kernel)),
      watch_(std::move(watch)),
      conntrack_(std::move(conntrack)),
      reconciler_(settings_of(config), *kernel_),
      watch_fd_(io, watch_.fd()),
      retry_timer_(io),
      verify_timer_(io),
      foreign_timer_(io),
      revoke_timer_(io),
      pause_(first_pause) {
  wait_for_news();
  verify_later();
}

void Commits::now() {
  begun_ = true;
  const auto begin = Clock::now();
  on_outcome(reconciler_.reconcile(), begin);
}

void Commits::soon() {
  if (commit_waiting_) return;
  commit_waiting_ = true;
  boost::asio::post(io_, [this] {
    commit_waiting_ = false;
    if (begun_) now();
  });
}

void Commits::on_outcome(const Outcome& outcome, Clock::time_point begin) {
  if (outcome.kind == Outcome::Kind::retry) return retry_later(outcome.error);
  const auto end = Clock::now();
  pause_ = first_pause;
  retry_timer_.cancel();
  activity_.last_error.clear();
  if (outcome.kind == Outcome::Kind::committed || !activity_.enforcing_since) {
    activity_.last_commit = end;
    activity_.last_commit_operations = outcome.operations;
    activity_.last_commit_took = std::chrono::duration_cast<std::chrono::microseconds>(end - begin);
  }
  if (outcome.kind == Outcome::Kind::committed) {
    ++activity_.commits;
    activity_.apply.add(activity_.last_commit_took);
  }
  if (!activity_.enforcing_since) {
    activity_.enforcing_since = end;
    const auto sizes = compiler().sizes();
    spdlog::info("event=enforcing node={} local_pods={} policies={} classes={} operations={} installed={} took_us={}",
                 config_.node, sizes.local_pods, sizes.relevant_policies, sizes.classes, outcome.operations,
                 outcome.installed, activity_.last_commit_took.count());
    revoke_soon();  // what changed while nobody looked
  } else if (outcome.operations != 0 || outcome.installed) {
    spdlog::info("event=commit operations={} installed={} took_us={} withheld={}", outcome.operations,
                 outcome.installed, activity_.last_commit_took.count(), reconciler_.withheld().size());
  }
  listener_.on_committed(begin, end);
  if (outcome.may_cut_flows) revoke_soon();
}

void Commits::retry_later(const std::string& error) {
  ++activity_.failures;
  activity_.last_error = error;
  spdlog::warn("event=commit_failed error=\"{}\" retry_in_ms={}", error, pause_.count());
  after(retry_timer_, pause_, [this] { now(); });
  pause_ = std::min<std::chrono::milliseconds>(pause_ * 2, longest_pause);
}

void Commits::wait_for_news() {
  watch_fd_.async_wait(boost::asio::posix::stream_descriptor::wait_read, [this](boost::system::error_code ec) {
    if (ec) return;
    on_news();
    if (watch_fd_.is_open()) wait_for_news();
  });
}

void Commits::on_news() {
  auto news = watch_.drain();
  if (!news) return spdlog::warn("event=notifications_lost error=\"{}\"", news.error().what());
  if (!news->changed) return;
  after(foreign_timer_, foreign_pause, [this, by = news->by] { verify(by); });
}

void Commits::verify_later() {
  after(verify_timer_, std::chrono::seconds(config_.verify_seconds), [this] {
    verify_later();
    verify("timer");
  });
}

/// Reads back and repairs. `by` is who changed something, or "timer".
void Commits::verify(const std::string& by) {
  if (!started()) return;
  const auto begin = Clock::now();
  const auto outcome = reconciler_.verify();
  if (outcome.repaired != 0) {
    const auto when = Clock::now();
    ++activity_.drift_repairs;
    activity_.drift_operations += outcome.repaired;
    activity_.last_drift = when;
    spdlog::warn("event=drift_repaired by=\"{}\" operations={} installed={}", by, outcome.repaired, outcome.installed);
    listener_.on_drift_repaired(when, by);
  }
  on_outcome(outcome, begin);
}

void Commits::revoke_soon() {
  if (!config_.revoke_established || revoke_waiting_) return;
  revoke_waiting_ = true;
  after(revoke_timer_, revoke_pause, [this] {
    revoke_waiting_ = false;
    revoke();
  });
}

void Commits::revoke() {
  std::optional<program::Program> program;  // made for the first flow that carries the label: often there is none
  std::optional<program::Tracer> tracer;
  const auto still_allowed = [&](const net::Flow& flow) {
    if (!program) {
      program = compiler().program();
      tracer.emplace(program->options);
    }
    return tracer->run(*program, program::first_packet(flow)).accepted;
  };
  const auto revoked = conntrack::revoke(conntrack_, config_.program.label_bit, still_allowed);
  activity_.revoke_error = revoked ? "" : revoked.error().what();
  if (!revoked) {
    spdlog::warn("event=revoke_failed error=\"{}\"", revoked.error().what());
    return revoke_soon();
  }
  listener_.on_flows_cut();
  activity_.flows_revoked += revoked->cleared;
  if (revoked->cleared != 0) {
    spdlog::info("event=flows_revoked walked={} labelled={} revoked={}", revoked->walked, revoked->labelled,
                 revoked->cleared);
  }
}

Result<> Commits::end_flows(const std::vector<net::IpAddr>& addresses) {
  const auto still_allowed = [&](const net::Flow& flow) {
    return !std::binary_search(addresses.begin(), addresses.end(), flow.source) &&
           !std::binary_search(addresses.begin(), addresses.end(), flow.destination);
  };
  const auto ended = conntrack::revoke(conntrack_, config_.program.label_bit, still_allowed);
  if (!ended) return fail(ended.error());
  activity_.flows_revoked += ended->cleared;
  return {};
}

void Commits::stop() {
  if (watch_fd_.is_open()) watch_fd_.release();
}

}  // namespace podfence::agent
