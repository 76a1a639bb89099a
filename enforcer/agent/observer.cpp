#include "enforcer/agent/observer.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <filesystem>
#include <utility>

namespace podfence::agent {
namespace {

constexpr std::string_view label = "podfence.io/observe";

std::string account_of(const flow::PipelineConfig& flows) {
  return flows.state_dir + "/allowed-flow-account.json";
}

}  // namespace

std::string allowed_flow_log(const std::string& flow_log) {
  if (flow_log.empty() || flow_log == "-") return {};
  const std::filesystem::path path(flow_log);
  return path.parent_path() / (path.stem().string() + "-allowed" + path.extension().string());
}

std::vector<net::IpAddr> observed_addresses(const store::Cluster& cluster, const std::string& node) {
  std::vector<net::IpAddr> found;
  for (const auto& [name, space] : cluster.namespaces()) {
    if (api::find_label(space.meta.labels, label) != "true") continue;
    const auto& pods = cluster.pods();
    for (auto it = pods.lower_bound({name, ""}); it != pods.end() && it->first.first == name; ++it) {
      const api::Pod& pod = it->second;
      if (pod.node != node || !pod.selectable()) continue;
      for (const auto& ip : pod.ips) {
        if (cluster.pod_by_ip(ip) == &pod) found.push_back(ip);
      }
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

Observer::Observer(boost::asio::io_context& io, flow::PipelineConfig flows, const program::ObserveOptions& options,
                   const store::Cluster& cluster, std::chrono::seconds verify)
    : flows_(std::move(flows)), options_(options), cluster_(cluster), fd_(io), verify_(verify) {
  flows_.allowed = true;
  flows_.flow_log = allowed_flow_log(flows_.flow_log);
  flows_.instance += "-allowed";
  flows_.table = program::observe_table_name;
  flows_.nflog.group = options_.log_group;
}

/// With the first pod that is observed, or where an earlier run has observed some: its account is to be ended.
void Observer::begin(Clock::time_point now) {
  auto table = observe::ObserveTable::open(options_);
  error_ = table ? "" : table.error().what();
  if (!table) return;
  table_.emplace(std::move(*table));
  pipeline_.emplace(flows_, cluster_, now);
  listen();
}

void Observer::after_commit(Clock::time_point since, Clock::time_point until) {
  auto addresses = observed_addresses(cluster_, flows_.node);
  std::error_code ignored;
  const bool wanted = !addresses.empty() || std::filesystem::exists(account_of(flows_), ignored);
  if (wanted && flows_.flow_log.empty()) {
    error_ = "allowed flows need a flow log that is a file";
    return;
  }
  if (wanted && !pipeline_) begin(until);
  if (!pipeline_) return;
  pipeline_->after_commit(since, until);
  written_ = written_ && addresses == observed_;
  observed_ = std::move(addresses);
  write();
}

void Observer::write() {
  if (written_) return;
  const auto done = table_->set(observed_);
  error_ = done ? "" : done.error().what();
  written_ = done.has_value();
}

void Observer::listen() {
  if (fd_.is_open() && fd_.native_handle() == pipeline_->fd()) return;
  if (fd_.is_open()) fd_.release();
  if (pipeline_->fd() < 0) return;
  fd_.assign(pipeline_->fd());
  wait();
}

void Observer::wait() {
  fd_.async_wait(fd_.wait_read, [this](boost::system::error_code ec) {
    if (ec) return;
    pipeline_->on_readable(Clock::now());
    if (fd_.is_open()) wait();
  });
}

std::optional<flow::CounterPackets> Observer::counters() {
  auto read = table_->counters();
  return read ? std::optional(std::move(*read)) : std::nullopt;
}

/// What is not as it was written: each second whether the counters are there, and now and then everything.
std::string Observer::damage(const std::optional<flow::CounterPackets>& counters, Clock::time_point now) {
  if (!written_) return {};
  for (const auto& name : program::observe_counter_names()) {
    if (counters && counters->count(name) == 0) return "counter " + name + " is missing";
  }
  if (now - verified_ < verify_ && verified_ <= now) return {};
  verified_ = now;
  return table_->damage(observed_).value_or("");  // what cannot be read now is read the next time
}

bool Observer::on_tick(Clock::time_point now) {
  if (!pipeline_) return false;
  const auto read = counters();
  const auto found = damage(read, now);
  written_ = written_ && found.empty();
  write();  // that, and what was refused
  const bool mended = !found.empty() && written_;
  if (mended) {
    ++repairs_;
    spdlog::warn("event=observe_table_repaired found=\"{}\"", found);
    pipeline_->report({.time = now, .event = "drift_repaired", .detail = found, .policy = {}, .duration_ms = {}});
  }
  pipeline_->set_interfaces(interfaces_, now);
  pipeline_->on_tick(now, read);
  listen();
  return mended;
}

ObservedFlows Observer::status() const {
  ObservedFlows status{observed_.size(), error_, repairs_, std::nullopt};
  if (pipeline_) status.stats = pipeline_->stats();
  return status;
}

void Observer::stop(Clock::time_point now) {
  if (!pipeline_) return;
  pipeline_->stop(now, counters());
  if (fd_.is_open()) fd_.release();
}

}  // namespace podfence::agent
