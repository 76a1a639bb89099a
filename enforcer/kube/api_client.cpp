#include "enforcer/kube/api_client.h"

#include <algorithm>
#include <utility>

namespace podfence::kube {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t longest_body = 16 * 1024;

}  // namespace

ApiClient::ApiClient(boost::asio::io_context& io, kubeconfig::Credentials credentials, std::string user_agent,
                     std::chrono::milliseconds deadline)
    : io_(io),
      credentials_(std::move(credentials)),
      user_agent_(std::move(user_agent)),
      deadline_(deadline),
      timer_(io) {}

ApiClient::~ApiClient() {
  *alive_ = false;
  if (exchange_) exchange_->cancel();
}

Result<std::unique_ptr<ApiClient>> ApiClient::open(boost::asio::io_context& io, kubeconfig::ClientConfig config,
                                                   std::string user_agent, std::chrono::milliseconds deadline) {
  auto credentials = kubeconfig::Credentials::open(std::move(config), Clock::now());
  if (!credentials) return fail(credentials.error());
  std::unique_ptr<ApiClient> client(new ApiClient(io, std::move(*credentials), std::move(user_agent), deadline));
  auto tls = TlsSource::open(client->credentials_, Clock::now());
  if (!tls) return fail(tls.error());
  client->tls_.emplace(std::move(*tls));
  return client;
}

void ApiClient::call(ApiRequest request, Done done) {
  done_ = std::move(done);
  answer_ = {};
  sent_ = Clock::now();
  auto call = call_to(credentials_.config(), request.path);
  call.authorization = credentials_.authorization(sent_);
  call.user_agent = user_agent_;
  call.method = std::move(request.method);
  call.content_type = std::move(request.content_type);
  call.body = std::move(request.body);
  exchange_ = HttpExchange::open(io_, tls_->context(sent_), std::move(call), *this);
  timer_.expires_after(deadline_);
  timer_.async_wait([this, alive = alive_, of = exchange_.get()](boost::system::error_code ec) {
    if (ec || !*alive || exchange_.get() != of) return;
    exchange_->cancel();
    answer_ = {.status = 0, .error = "no answer within " + std::to_string(deadline_.count()) + " ms"};
    finish();
  });
}

void ApiClient::on_head(const reflector::Head& head) {
  answer_.status = head.status;
  answer_.retry_after = head.retry_after;
  if (head.status == 401) credentials_.refused(sent_);
}

void ApiClient::on_bytes(std::string_view bytes) {
  answer_.body += bytes.substr(0, longest_body - std::min(longest_body, answer_.body.size()));
}

/// A status says enough, also where the rest was cut.
void ApiClient::on_close(const reflector::Closed& closed) {
  if (answer_.status == 0) answer_.error = closed.why;
  finish();
}

void ApiClient::finish() {
  timer_.cancel();
  exchange_.reset();
  std::exchange(done_, nullptr)(std::exchange(answer_, {}));
}

}  // namespace podfence::kube
