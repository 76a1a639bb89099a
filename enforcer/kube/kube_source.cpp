#include "enforcer/kube/kube_source.h"

#include <boost/asio/steady_timer.hpp>
#include <random>

#include "enforcer/kube/http_exchange.h"
#include "enforcer/reflector/count_audit.h"

namespace podfence::kube {
namespace {

namespace asio = boost::asio;
using Clock = std::chrono::steady_clock;
using boost::system::error_code;

const std::vector<reflector::Resource>& resources() {
  static const std::vector<reflector::Resource> all{
      {api::Kind::namespace_, "namespaces", "/api/v1/namespaces"},
      {api::Kind::node, "nodes", "/api/v1/nodes"},
      {api::Kind::pod, "pods", "/api/v1/pods"},
      {api::Kind::network_policy, "networkpolicies", "/apis/networking.k8s.io/v1/networkpolicies"},
  };
  return all;
}

}  // namespace

struct KubeSource::Parts {
  Parts(asio::io_context& context, kubeconfig::Credentials who, Settings with, Listener& to)
      : io(context), credentials(std::move(who)), settings(std::move(with)), listener(&to) {}

  std::shared_ptr<HttpExchange> open(const reflector::Request& request, HttpExchange::Listener& to) {
    const auto now = Clock::now();
    const auto& config = credentials.config();
    Call call{config.host, config.port, config.server_name, config.insecure, config.base_path + request.target, {}, {}};
    if (request.proto) call.accept = "application/vnd.kubernetes.protobuf,application/json";
    call.authorization = credentials.authorization(now);
    call.user_agent = "podfence/" + settings.version;
    return HttpExchange::open(io, tls->context(now), std::move(call), to);
  }
  bool synced() const;
  void reconnect_all();
  double random() { return std::uniform_real_distribution<double>(0, 1)(generator); }

  asio::io_context& io;
  kubeconfig::Credentials credentials;
  Settings settings;
  Listener* listener;  // null when stopped
  std::optional<TlsSource> tls;
  reflector::Budget budget;
  std::mt19937_64 generator{std::random_device{}()};
  std::vector<std::unique_ptr<Follower>> followers;
};

/// Carries out what the machines of one type want.
class KubeSource::Follower {
 public:
  Follower(Parts& parts, const reflector::Resource& resource)
      : parts_(parts),
        reflector_(resource, parts.budget, [&parts] { return parts.random(); }),
        audit_(
            reflector_, parts.budget, [&parts] { return parts.random(); }, parts.settings.audit_interval),
        timer_(parts.io),
        audit_timer_(parts.io) {}

  void start() {
    audit_.start(Clock::now());
    arm_audit();
    perform(reflector_.start(Clock::now()));
  }
  void stop() {
    timer_.cancel();
    audit_timer_.cancel();
    for (auto* exchange : {&exchange_, &audit_exchange_}) {
      if (*exchange) (*exchange)->cancel();
      exchange->reset();
    }
  }
  /// The connection was made as somebody that we are no more.
  void reconnect() {
    if (!exchange_) return;
    std::exchange(exchange_, nullptr)->cancel();
    perform(reflector_.on_close({.whole = false, .why = "a new client certificate"}, Clock::now()));
  }

  const reflector::Reflector& machine() const { return reflector_; }

 private:
  /// What is heard of the watch or list.
  class Main final : public HttpExchange::Listener {
   public:
    explicit Main(Follower& owner) : owner_(owner) {}
    void on_head(const reflector::Head& head) override {
      owner_.perform(owner_.reflector_.on_response_head(head, Clock::now()));
    }
    void on_bytes(std::string_view bytes) override { owner_.perform(owner_.reflector_.on_bytes(bytes, Clock::now())); }
    void on_close(const reflector::Closed& closed) override {
      owner_.exchange_.reset();
      owner_.perform(owner_.reflector_.on_close(closed, Clock::now()));
    }

   private:
    Follower& owner_;
  };

  /// What is heard of the audit.
  class Audit final : public HttpExchange::Listener {
   public:
    explicit Audit(Follower& owner) : owner_(owner) {}
    void on_head(const reflector::Head& head) override {
      owner_.audit_.on_response_head(head, Clock::now());
      owner_.arm_audit();
    }
    void on_bytes(std::string_view bytes) override {
      if (!owner_.audit_.on_bytes(bytes, Clock::now())) std::exchange(owner_.audit_exchange_, nullptr)->cancel();
      owner_.arm_audit();
    }
    void on_close(const reflector::Closed& closed) override {
      owner_.audit_exchange_.reset();
      owner_.perform(owner_.audit_.on_close(closed, Clock::now()));
      owner_.arm_audit();
    }

   private:
    Follower& owner_;
  };

  void perform(reflector::Actions actions) {
    if (parts_.listener == nullptr) return;
    for (const auto& note : actions.notes) parts_.listener->on_note(note);
    if (actions.unauthorized) parts_.credentials.refused(opened_);
    const bool synced = reflector_.status().synced;
    if (!actions.events.empty() || synced != std::exchange(told_synced_, synced)) {
      parts_.listener->on_events(std::move(actions.events), parts_.synced());
    }
    if (actions.close && exchange_) std::exchange(exchange_, nullptr)->cancel();
    if (actions.request) {
      opened_ = Clock::now();
      exchange_ = parts_.open(*actions.request, main_);
    }
    arm();
    if (parts_.tls->took_new_certificate()) parts_.reconnect_all();
  }

  void arm() {
    const auto deadline = reflector_.deadline();
    if (deadline == armed_) return;
    armed_ = deadline;
    if (!deadline) {
      timer_.cancel();
      return;
    }
    timer_.expires_at(*deadline);
    timer_.async_wait([this](error_code ec) {
      if (ec || parts_.listener == nullptr) return;
      armed_.reset();
      perform(reflector_.on_timer(Clock::now()));
    });
  }

  void arm_audit() {
    if (!audit_.deadline()) return;
    audit_timer_.expires_at(*audit_.deadline());
    audit_timer_.async_wait([this](error_code ec) {
      if (ec || parts_.listener == nullptr) return;
      const auto due = audit_.on_timer(Clock::now());
      if (due.close && audit_exchange_) std::exchange(audit_exchange_, nullptr)->cancel();
      if (due.request) audit_exchange_ = parts_.open(*due.request, hears_audit_);
      arm_audit();
    });
  }

  Parts& parts_;
  reflector::Reflector reflector_;
  reflector::CountAudit audit_;
  Main main_{*this};
  Audit hears_audit_{*this};
  std::shared_ptr<HttpExchange> exchange_;
  std::shared_ptr<HttpExchange> audit_exchange_;
  Clock::time_point opened_;
  asio::steady_timer timer_;
  asio::steady_timer audit_timer_;
  std::optional<Clock::time_point> armed_;
  bool told_synced_ = false;
};

bool KubeSource::Parts::synced() const {
  return std::all_of(followers.begin(), followers.end(), [](const auto& f) { return f->machine().status().synced; });
}

void KubeSource::Parts::reconnect_all() {
  for (const auto& follower : followers) follower->reconnect();
}

KubeSource::KubeSource(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
KubeSource::~KubeSource() {
  stop();
}

Result<std::unique_ptr<KubeSource>> KubeSource::open(asio::io_context& io, kubeconfig::ClientConfig config,
                                                     Settings settings, Listener& listener) {
  auto credentials = kubeconfig::Credentials::open(std::move(config), Clock::now());
  if (!credentials) return fail(credentials.error());
  auto parts = std::make_unique<Parts>(io, std::move(*credentials), std::move(settings), listener);
  auto tls = TlsSource::open(parts->credentials, Clock::now());
  if (!tls) return fail(tls.error());
  parts->tls.emplace(std::move(*tls));
  for (const auto& resource : resources()) {
    parts->followers.push_back(std::make_unique<Follower>(*parts, resource));
  }
  return std::unique_ptr<KubeSource>(new KubeSource(std::move(parts)));
}

void KubeSource::start() {
  for (const auto& follower : parts_->followers) follower->start();
}

void KubeSource::stop() {
  if (std::exchange(parts_->listener, nullptr) == nullptr) return;
  for (const auto& follower : parts_->followers) follower->stop();
}

std::vector<KubeSource::Type> KubeSource::types() const {
  std::vector<Type> all;
  for (const auto& follower : parts_->followers) {
    const auto& machine = follower->machine();
    all.push_back({machine.resource().name, machine.objects(), machine.status()});
  }
  return all;
}

std::map<std::string, reflector::Problem> KubeSource::problems() const {
  std::map<std::string, reflector::Problem> all;
  for (const auto& follower : parts_->followers) {
    const auto& problems = follower->machine().problems();
    all.insert(problems.begin(), problems.end());
  }
  return all;
}

std::string KubeSource::credentials_problem() const {
  return parts_->credentials.problem().empty() ? parts_->tls->problem() : parts_->credentials.problem();
}

std::string KubeSource::text() const {
  const auto& config = parts_->credentials.config();
  return "https://" + config.host + ":" + config.port + config.base_path + " by " + config.origin;
}

}  // namespace podfence::kube
