#pragma once
// Single requests to the API server, beside the watches: who we are is read from the same files. One at a time.
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "enforcer/kube/http_exchange.h"
#include "enforcer/kube/tls.h"
#include "enforcer/kubeconfig/credentials.h"

namespace podfence::kube {

struct ApiRequest {
  std::string method;
  std::string path;
  std::string content_type;
  std::string body;
};

/// `status` 0: there was no whole answer in time, for that reason.
struct ApiAnswer {
  unsigned status = 0;
  std::optional<std::chrono::seconds> retry_after = {};
  std::string body = {};  // its first 16 KiB
  std::string error = {};
};

class ApiClient final : private HttpExchange::Listener {
 public:
  using Done = std::function<void(ApiAnswer)>;

  static Result<std::unique_ptr<ApiClient>> open(boost::asio::io_context& io, kubeconfig::ClientConfig config,
                                                 std::string user_agent,
                                                 std::chrono::milliseconds deadline = std::chrono::seconds(15));
  ~ApiClient() override;
  ApiClient(const ApiClient&) = delete;
  ApiClient& operator=(const ApiClient&) = delete;

  /// `done` is called once, never from within, and not after the client is gone.
  void call(ApiRequest request, Done done);

 private:
  ApiClient(boost::asio::io_context& io, kubeconfig::Credentials credentials, std::string user_agent,
            std::chrono::milliseconds deadline);
  void on_head(const reflector::Head& head) override;
  void on_bytes(std::string_view bytes) override;
  void on_close(const reflector::Closed& closed) override;
  void finish();

  boost::asio::io_context& io_;
  kubeconfig::Credentials credentials_;
  std::optional<TlsSource> tls_;
  std::string user_agent_;
  std::chrono::milliseconds deadline_;
  boost::asio::steady_timer timer_;
  std::shared_ptr<HttpExchange> exchange_;
  kubeconfig::Credentials::Time sent_;
  ApiAnswer answer_;
  Done done_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace podfence::kube
