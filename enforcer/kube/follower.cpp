#include "enforcer/kube/follower.h"

#include <utility>

namespace podfence::kube {

namespace asio = boost::asio;
using boost::system::error_code;

Result<std::unique_ptr<Session>> Session::open(asio::io_context& io, kubeconfig::ClientConfig config,
                                               std::string version, std::chrono::seconds audit_interval, Hears& hears) {
  auto credentials = kubeconfig::Credentials::open(std::move(config), Clock::now());
  if (!credentials) return fail(credentials.error());
  std::unique_ptr<Session> session(new Session(io, std::move(*credentials), std::move(version), audit_interval, hears));
  auto tls = TlsSource::open(session->credentials_, Clock::now());
  if (!tls) return fail(tls.error());
  session->tls_.emplace(std::move(*tls));
  return session;
}

std::shared_ptr<HttpExchange> Session::ask(const reflector::Request& request, HttpExchange::Listener& to) {
  const auto now = Clock::now();
  auto call = call_to(credentials_.config(), request.target);
  if (request.proto) call.accept = "application/vnd.kubernetes.protobuf,application/json";
  call.authorization = credentials_.authorization(now);
  call.user_agent = "podfence/" + version_;
  return HttpExchange::open(io_, tls_->context(now), std::move(call), to);
}

Follower::Follower(Session& session, const reflector::Resource& resource)
    : session_(session),
      reflector_(resource, session.budget_, [&session] { return session.random(); }),
      audit_(
          reflector_, session.budget_, [&session] { return session.random(); }, session.audit_interval_),
      timer_(session.io_),
      audit_timer_(session.io_) {}

void Follower::start() {
  if (stopped_) return;
  audit_.start(Clock::now());
  arm_audit();
  perform(reflector_.start(Clock::now()));
}

void Follower::stop() {
  stopped_ = true;
  timer_.cancel();
  audit_timer_.cancel();
  for (auto* exchange : {&exchange_, &audit_exchange_}) {
    if (*exchange) (*exchange)->cancel();
    exchange->reset();
  }
  reflector_.abandon();
}

void Follower::reconnect() {
  if (!exchange_) return;
  std::exchange(exchange_, nullptr)->cancel();
  perform(reflector_.on_close({.whole = false, .why = "a new client certificate"}, Clock::now()));
}

void Follower::Main::on_head(const reflector::Head& head) {
  owner_.perform(owner_.reflector_.on_response_head(head, Clock::now()));
}

void Follower::Main::on_bytes(std::string_view bytes) {
  owner_.perform(owner_.reflector_.on_bytes(bytes, Clock::now()));
}

void Follower::Main::on_close(const reflector::Closed& closed) {
  owner_.exchange_.reset();
  owner_.perform(owner_.reflector_.on_close(closed, Clock::now()));
}

void Follower::Audit::on_head(const reflector::Head& head) {
  owner_.audit_.on_response_head(head, Clock::now());
  owner_.arm_audit();
}

void Follower::Audit::on_bytes(std::string_view bytes) {
  if (!owner_.audit_.on_bytes(bytes, Clock::now())) std::exchange(owner_.audit_exchange_, nullptr)->cancel();
  owner_.arm_audit();
}

void Follower::Audit::on_close(const reflector::Closed& closed) {
  const auto self = owner_.shared_from_this();
  self->audit_exchange_.reset();
  self->perform(self->audit_.on_close(closed, Clock::now()));
  self->arm_audit();
}

void Follower::perform(reflector::Actions actions) {
  if (stopped_) return;
  const auto self = shared_from_this();
  for (const auto& note : actions.notes) session_.hears_.on_note(note);
  if (actions.unauthorized) session_.credentials_.refused(opened_);
  if (actions.close && exchange_) std::exchange(exchange_, nullptr)->cancel();
  if (actions.request) {
    opened_ = Clock::now();
    exchange_ = session_.ask(*actions.request, main_);
  }
  arm();
  if (!actions.events.empty() || synced() != std::exchange(told_synced_, synced())) {
    session_.hears_.on_news(*this, std::move(actions.events));
  }
  if (session_.tls_->took_new_certificate()) session_.hears_.on_new_certificate();
}

void Follower::arm() {
  const auto deadline = reflector_.deadline();
  if (deadline == armed_) return;
  armed_ = deadline;
  if (!deadline) {
    timer_.cancel();
    return;
  }
  timer_.expires_at(*deadline);
  timer_.async_wait([weak = weak_from_this()](error_code ec) {
    const auto self = weak.lock();
    if (ec || !self || self->stopped_) return;
    self->armed_.reset();
    self->perform(self->reflector_.on_timer(Clock::now()));
  });
}

void Follower::arm_audit() {
  if (stopped_ || !audit_.deadline()) return;
  audit_timer_.expires_at(*audit_.deadline());
  audit_timer_.async_wait([weak = weak_from_this()](error_code ec) {
    const auto self = weak.lock();
    if (ec || !self || self->stopped_) return;
    const auto due = self->audit_.on_timer(Clock::now());
    if (due.close && self->audit_exchange_) std::exchange(self->audit_exchange_, nullptr)->cancel();
    if (due.request) self->audit_exchange_ = self->session_.ask(*due.request, self->hears_audit_);
    self->arm_audit();
  });
}

}  // namespace podfence::kube
