#pragma once
// Carries out what the machines of one resource want: a Reflector and its CountAudit, each with an exchange of its own.
// Inner to this folder.
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "enforcer/kube/http_exchange.h"
#include "enforcer/kube/tls.h"
#include "enforcer/kubeconfig/credentials.h"
#include "enforcer/reflector/count_audit.h"
#include "enforcer/reflector/reflector.h"

namespace podfence::kube {

class Follower;

/// What all followers of an agent share: who they are, and how much they may ask together.
class Session {
 public:
  using Clock = std::chrono::steady_clock;

  class Hears {
   public:
    virtual ~Hears() = default;
    /// Events, or that it became synced.
    virtual void on_news(const Follower& from, std::vector<store::Event> events) = 0;
    virtual void on_note(const std::string& text) = 0;
    /// Connections were made as somebody that we are no more.
    virtual void on_new_certificate() = 0;
  };

  static Result<std::unique_ptr<Session>> open(boost::asio::io_context& io, kubeconfig::ClientConfig config,
                                               std::string version, std::chrono::seconds audit_interval, Hears& hears);

  std::shared_ptr<HttpExchange> ask(const reflector::Request& request, HttpExchange::Listener& to);
  double random() { return std::uniform_real_distribution<double>(0, 1)(generator_); }
  std::string problem() const { return credentials_.problem().empty() ? tls_->problem() : credentials_.problem(); }

 private:
  friend class Follower;
  Session(boost::asio::io_context& io, kubeconfig::Credentials credentials, std::string version,
          std::chrono::seconds audit_interval, Hears& hears)
      : io_(io),
        credentials_(std::move(credentials)),
        version_(std::move(version)),
        audit_interval_(audit_interval),
        hears_(hears) {}

  boost::asio::io_context& io_;
  kubeconfig::Credentials credentials_;
  std::string version_;
  std::chrono::seconds audit_interval_;
  Hears& hears_;
  std::optional<TlsSource> tls_;
  reflector::Budget budget_;
  std::mt19937_64 generator_{std::random_device{}()};
};

/// May be dropped at any time, from within what it calls, too: its timers hold it weakly.
class Follower : public std::enable_shared_from_this<Follower> {
 public:
  using Clock = Session::Clock;

  Follower(Session& session, const reflector::Resource& resource);

  void start();
  /// Nothing is heard of it any more.
  void stop();
  /// The connection is made anew.
  void reconnect();

  const reflector::Reflector& machine() const { return reflector_; }
  bool synced() const { return reflector_.status().synced; }

 private:
  /// What is heard of the watch or list.
  class Main final : public HttpExchange::Listener {
   public:
    explicit Main(Follower& owner) : owner_(owner) {}
    void on_head(const reflector::Head& head) override;
    void on_bytes(std::string_view bytes) override;
    void on_close(const reflector::Closed& closed) override;

   private:
    Follower& owner_;
  };

  /// What is heard of the audit.
  class Audit final : public HttpExchange::Listener {
   public:
    explicit Audit(Follower& owner) : owner_(owner) {}
    void on_head(const reflector::Head& head) override;
    void on_bytes(std::string_view bytes) override;
    void on_close(const reflector::Closed& closed) override;

   private:
    Follower& owner_;
  };

  void perform(reflector::Actions actions);
  void arm();
  void arm_audit();

  Session& session_;
  reflector::Reflector reflector_;
  reflector::CountAudit audit_;
  Main main_{*this};
  Audit hears_audit_{*this};
  std::shared_ptr<HttpExchange> exchange_;
  std::shared_ptr<HttpExchange> audit_exchange_;
  Clock::time_point opened_;
  boost::asio::steady_timer timer_;
  boost::asio::steady_timer audit_timer_;
  std::optional<Clock::time_point> armed_;
  bool told_synced_ = false;
  bool stopped_ = false;
};

}  // namespace podfence::kube
