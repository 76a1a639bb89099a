#include "enforcer/kube/kube_source.h"

#include <boost/asio/steady_timer.hpp>
#include <utility>

#include "enforcer/kube/follower.h"
#include "enforcer/reflector/gate.h"
#include "enforcer/reflector/overlap.h"
#include "enforcer/reflector/pod_watches.h"
#include "policy/scope/scope.h"

namespace podfence::kube {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using reflector::PodWatch;
using Clock = Session::Clock;

/// Up to here a server sends every node every pod's events for less than half of a core (kube.md 2.2).
constexpr std::size_t nodes_of_a_small_cluster = 100;
/// Each is a connection: with more of them one watch of the whole cluster is the smaller load.
constexpr std::size_t most_namespaces = 16;

reflector::Resource resource_of(const PodWatch& watch) {
  switch (watch.of) {
    case PodWatch::Of::cluster:
      break;
    case PodWatch::Of::node:
      return {api::Kind::pod, "local-pods", "/api/v1/pods", true, "spec.nodeName=" + watch.name, {}};
    case PodWatch::Of::namespace_:
      return {api::Kind::pod, "pods/" + watch.name, "/api/v1/namespaces/" + watch.name + "/pods", true, {}, watch.name};
  }
  return {api::Kind::pod, "pods", "/api/v1/pods"};
}

}  // namespace

class KubeSource::Parts final : public std::enable_shared_from_this<Parts>, private Session::Hears {
 public:
  Parts(asio::io_context& io, Settings settings, Listener& listener)
      : io_(io),
        settings_(std::move(settings)),
        listener_(&listener),
        scoper_(settings_.node),
        watches_(settings_.linger),
        timer_(io) {}

  Result<> open(kubeconfig::ClientConfig config) {
    auto session = Session::open(io_, std::move(config), settings_.version, settings_.audit_interval, *this);
    if (!session) return fail(session.error());
    session_ = std::move(*session);
    const auto follow = [&](const reflector::Resource& resource) {
      return std::make_shared<Follower>(*session_, resource);
    };
    namespaces_ = follow({api::Kind::namespace_, "namespaces", "/api/v1/namespaces"});
    nodes_ = follow({api::Kind::node, "nodes", "/api/v1/nodes"});
    policies_ = follow({api::Kind::network_policy, "networkpolicies", "/apis/networking.k8s.io/v1/networkpolicies"});
    return {};
  }

  void start() {
    for (const auto& follower : {namespaces_, nodes_, policies_}) follower->start();
    plan();
  }

  void stop() {
    if (std::exchange(listener_, nullptr) == nullptr) return;
    timer_.cancel();
    for (const auto& follower : followers()) follower->stop();
  }

  std::vector<std::shared_ptr<Follower>> followers() const {
    std::vector<std::shared_ptr<Follower>> all{namespaces_, nodes_};
    for (const auto& [watch, follower] : pods_) all.push_back(follower);
    all.push_back(policies_);
    return all;
  }

  const Session& session() const { return *session_; }

 private:
  void on_note(const std::string& text) override {
    if (listener_ != nullptr) listener_->on_note(text);
  }

  void on_new_certificate() override {
    for (const auto& follower : followers()) follower->reconnect();
  }

  void on_news(const Follower& from, std::vector<store::Event> events) override {
    if (listener_ == nullptr) return;
    if (from.machine().resource().kind == api::Kind::pod) {
      events = overlap_.news(pods(), from.machine(), std::move(events));
    }
    std::vector<reflector::Gate::Item> items;
    items.reserve(events.size());
    for (auto& event : events) {
      const bool waits = scoper_.concerns(event);
      scope_is_old_ = scoper_.apply(event) || scope_is_old_;
      items.push_back({std::move(event), waits});
    }
    plan();
    tell(std::move(items));
  }

  reflector::Watches pods() const {
    reflector::Watches all;
    for (const auto& [watch, follower] : pods_) all.push_back(&follower->machine());
    return all;
  }

  /// What all followers but those of pods have listed.
  bool knows_what_pods_depend_on() const { return namespaces_->synced() && nodes_->synced() && policies_->synced(); }

  bool watches_all() const {
    if (settings_.scope == WatchScope::automatic) return nodes_->machine().objects() <= nodes_of_a_small_cluster;
    return settings_.scope == WatchScope::cluster;
  }

  /// Nothing: it cannot be said yet.
  std::optional<std::set<PodWatch>> wanted() {
    if (settings_.scope == WatchScope::automatic && !nodes_->synced()) return std::nullopt;
    const PodWatch cluster{};
    if (watches_all()) return std::set{cluster};
    const PodWatch local{PodWatch::Of::node, settings_.node};
    const auto own = pods_.find(local);
    const bool knows_own = own != pods_.end() && own->second->synced();
    const auto all = pods_.find(cluster);
    const bool knows_all = all != pods_.end() && all->second->synced();
    if (!knows_what_pods_depend_on() || (!knows_own && !knows_all)) return std::set{local};
    if (std::exchange(scope_is_old_, false)) scope_ = scoper_.scope();
    if (scope_.everything || scope_.namespaces.size() > most_namespaces) return std::set{cluster};
    std::set<PodWatch> watches{local};
    for (const auto& name : scope_.namespaces) watches.insert({PodWatch::Of::namespace_, name});
    return watches;
  }

  /// Opens and drops watches of pods.
  void plan() {
    const auto watches = wanted();
    if (!watches) return;
    const auto now = Clock::now();
    const auto synced = [&](const PodWatch& watch) { return pods_.at(watch)->synced(); };
    const auto plan = watches_.update(*watches, synced, now);
    for (const auto& watch : plan.drop) drop(watch);
    for (const auto& watch : plan.open) {
      pods_[watch] = std::make_shared<Follower>(*session_, resource_of(watch));
      pods_[watch]->start();
    }
    arm();
  }

  void drop(const PodWatch& watch) {
    const auto gone = std::move(pods_.extract(watch).mapped());
    gone->stop();
    for (auto& event : overlap_.without(gone->machine(), pods())) {
      scope_is_old_ = scoper_.apply(event) || scope_is_old_;
      left_.push_back({std::move(event), false});
    }
  }

  bool is_ready() const { return knows_what_pods_depend_on() && watches_.ready(); }

  void tell(std::vector<reflector::Gate::Item> items) {
    items.insert(items.begin(), std::make_move_iterator(left_.begin()), std::make_move_iterator(left_.end()));
    left_.clear();
    const auto now = Clock::now();
    const bool ready = is_ready();
    const bool is_first = ready && !std::exchange(synced_, synced_ || ready);
    const auto waiting = gate_.waiting();
    auto events = gate_.pass(std::move(items), ready || !synced_, now);
    if (!ready && waiting > 0 && gate_.waiting() == 0) {
      on_note("pods of a namespace that a policy names are still not known: not waited for any longer");
    }
    if (is_first || !events.empty()) listener_->on_events(std::move(events), synced_);
    arm();
  }

  void arm() {
    auto at = watches_.deadline();
    if (const auto due = gate_.deadline()) at = at ? std::min(*at, *due) : due;
    if (!at) return;
    timer_.expires_at(*at);
    timer_.async_wait([weak = weak_from_this()](error_code ec) {
      const auto self = weak.lock();
      if (ec || !self || self->listener_ == nullptr) return;
      self->plan();
      self->tell({});
    });
  }

  asio::io_context& io_;
  Settings settings_;
  Listener* listener_;  // null when stopped
  std::unique_ptr<Session> session_;
  std::shared_ptr<Follower> namespaces_, nodes_, policies_;
  std::map<PodWatch, std::shared_ptr<Follower>> pods_;

  reflector::Overlap overlap_;
  scope::Scoper scoper_;
  scope::Scope scope_;
  bool scope_is_old_ = true;
  reflector::PodWatches watches_;
  std::vector<reflector::Gate::Item> left_;  // of watches that were dropped
  reflector::Gate gate_;
  asio::steady_timer timer_;
  bool synced_ = false;
};

KubeSource::KubeSource(std::shared_ptr<Parts> parts, std::string text)
    : parts_(std::move(parts)), text_(std::move(text)) {}

KubeSource::~KubeSource() {
  stop();
}

Result<std::unique_ptr<KubeSource>> KubeSource::open(asio::io_context& io, kubeconfig::ClientConfig config,
                                                     Settings settings, Listener& listener) {
  auto text = "https://" + config.host + ":" + config.port + config.base_path + " by " + config.origin;
  if (config.proxy) text += " through proxy " + config.proxy->text();
  auto parts = std::make_shared<Parts>(io, std::move(settings), listener);
  if (auto opened = parts->open(std::move(config)); !opened) return fail(opened.error());
  return std::unique_ptr<KubeSource>(new KubeSource(std::move(parts), std::move(text)));
}

void KubeSource::start() {
  parts_->start();
}

void KubeSource::stop() {
  parts_->stop();
}

std::vector<KubeSource::Type> KubeSource::types() const {
  std::vector<Type> all;
  for (const auto& follower : parts_->followers()) {
    const auto& machine = follower->machine();
    all.push_back({machine.resource().name, machine.objects(), machine.status()});
  }
  return all;
}

std::map<std::string, reflector::Problem> KubeSource::problems() const {
  std::map<std::string, reflector::Problem> all;
  for (const auto& follower : parts_->followers()) {
    const auto& problems = follower->machine().problems();
    all.insert(problems.begin(), problems.end());
  }
  return all;
}

std::string KubeSource::credentials_problem() const {
  return parts_->session().problem();
}

}  // namespace podfence::kube
