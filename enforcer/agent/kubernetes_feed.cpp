#include <spdlog/spdlog.h>

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdlib>

#include "enforcer/agent/feed.h"
#include "enforcer/agent/version.h"
#include "enforcer/kube/kube_source.h"

namespace podfence::agent {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

constexpr std::chrono::milliseconds event_pause{10};  // a rollout comes in bursts: take them together

std::optional<std::string> from_environment(const std::string& name) {
  const char* value = std::getenv(name.c_str());  // NOLINT(concurrency-mt-unsafe): nobody sets it
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

/// validate() has seen that it is one of them.
kube::WatchScope scope_of(const std::string& watch) {
  if (watch == "cluster") return kube::WatchScope::cluster;
  return watch == "needed" ? kube::WatchScope::needed : kube::WatchScope::automatic;
}

class KubernetesFeed final : public Feed, private kube::KubeSource::Listener {
 public:
  KubernetesFeed(asio::io_context& io, Taker& taker) : io_(io), taker_(taker), timer_(io) {}

  Result<> open(const Config& config) {
    auto client = kubeconfig::load({config.kubeconfig, config.context}, from_environment);
    if (!client) return fail(client.error());
    auto source = kube::KubeSource::open(io_, std::move(*client),
                                         {.version = version,
                                          .node = config.node,
                                          .scope = scope_of(config.watch),
                                          .audit_interval = std::chrono::seconds(config.audit_seconds),
                                          .linger = std::chrono::seconds(config.watch_linger_seconds)},
                                         *this);
    if (!source) return fail(source.error());
    source_ = std::move(*source);
    return {};
  }

  void start() override {
    spdlog::info("event=kubernetes_source server=\"{}\"", source_->text());
    asio::post(io_, [this] { source_->start(); });
  }
  void stop() override {
    source_->stop();
    timer_.cancel();
  }

  std::vector<FileProblem> problems() const override {
    std::vector<FileProblem> all;
    for (const auto& [object, problem] : source_->problems()) all.push_back({object, problem.stale, problem.messages});
    if (const auto problem = source_->credentials_problem(); !problem.empty()) {
      all.push_back({"credentials", true, {problem}});
    }
    return all;
  }

  std::vector<WatchedType> types() const override {
    const auto now = std::chrono::steady_clock::now();
    const auto age = [&](const std::optional<reflector::Time>& t) -> std::optional<double> {
      if (!t) return std::nullopt;
      return std::chrono::duration<double>(now - *t).count();
    };
    std::vector<WatchedType> all;
    for (const auto& [name, objects, status] : source_->types()) {
      all.push_back({.name = name,
                     .state = std::string(reflector::name_of(status.state)),
                     .synced = status.synced,
                     .cursor = status.cursor,
                     .objects = objects,
                     .last_event_age = age(status.last_event),
                     .last_contact_age = age(status.last_contact),
                     .lists = status.lists,
                     .expired = status.expired,
                     .rollbacks = status.rollbacks,
                     .missed_events = status.missed_events,
                     .events = status.events,
                     .bytes = status.bytes,
                     .possibly_stale = status.possibly_stale,
                     .error = status.error});
    }
    return all;
  }

 private:
  void on_events(std::vector<store::Event> events, bool synced) override {
    events_.insert(events_.end(), std::make_move_iterator(events.begin()), std::make_move_iterator(events.end()));
    synced_ = synced_ || synced;
    if (std::exchange(waiting_, true)) return;
    timer_.expires_after(event_pause);
    timer_.async_wait([this](error_code ec) {
      if (ec) return;
      waiting_ = false;
      taker_.take(std::exchange(events_, {}), synced_);
    });
  }

  void on_note(const std::string& text) override { spdlog::warn("event=kubernetes_api note=\"{}\"", text); }

  asio::io_context& io_;
  Taker& taker_;
  asio::steady_timer timer_;
  std::unique_ptr<kube::KubeSource> source_;
  std::vector<store::Event> events_;
  bool waiting_ = false;
  bool synced_ = false;
};

}  // namespace

Result<std::unique_ptr<Feed>> open_kubernetes_feed(asio::io_context& io, const Config& config, Feed::Taker& taker) {
  auto feed = std::make_unique<KubernetesFeed>(io, taker);
  if (auto opened = feed->open(config); !opened) return fail(std::move(opened.error()).in("source kubernetes"));
  return feed;
}

}  // namespace podfence::agent
