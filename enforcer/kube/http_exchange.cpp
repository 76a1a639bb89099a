#include "enforcer/kube/http_exchange.h"

#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>
#include <charconv>

namespace podfence::kube {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
namespace ssl = asio::ssl;
using Tcp = asio::ip::tcp;
using boost::system::error_code;

constexpr std::chrono::seconds dial_time{30};
constexpr std::chrono::seconds handshake_time{10};
constexpr std::chrono::seconds request_time{30};
constexpr std::size_t longest_header = 64 * 1024;
constexpr std::size_t piece = 32 * 1024;

/// The kernel asks a silent peer after 20 s, and gives up on one that acknowledges nothing after 30 s.
void notice_dead_peers(int fd) {
  const auto set = [&](int level, int option, int value) { ::setsockopt(fd, level, option, &value, sizeof value); };
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 20);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 5);
  set(IPPROTO_TCP, TCP_KEEPCNT, 3);
  set(IPPROTO_TCP, TCP_USER_TIMEOUT, 30'000);
}

bool is_address(const std::string& host) {
  error_code ec;
  asio::ip::make_address(host, ec);
  return !ec;
}

std::optional<std::chrono::seconds> retry_after_of(std::string_view text) {
  unsigned seconds = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (text.empty() || read.ec != std::errc()) return std::nullopt;
  return std::chrono::seconds(seconds);
}

class Exchange final : public HttpExchange, public std::enable_shared_from_this<Exchange> {
 public:
  Exchange(asio::io_context& io, TlsContext tls, Call call, Listener& listener)
      : tls_(std::move(tls)), call_(std::move(call)), resolver_(io), stream_(io, *tls_), listener_(&listener) {
    request_.version(11);
    request_.method_string(call_.method);
    request_.target(call_.target);
    const bool v6 = call_.host.find(':') != std::string::npos;
    request_.set(http::field::host, (v6 ? "[" + call_.host + "]" : call_.host) + ":" + call_.port);
    request_.set(http::field::user_agent, call_.user_agent);
    request_.set(http::field::accept, call_.accept);
    if (!call_.authorization.empty()) request_.set(http::field::authorization, call_.authorization);
    request_.keep_alive(false);
    if (!call_.body.empty()) {
      request_.set(http::field::content_type, call_.content_type);
      request_.body() = std::move(call_.body);
      request_.prepare_payload();
    }
    parser_.body_limit(boost::none);
    parser_.header_limit(longest_header);
  }

 private:
  /// Calls `then` after the operation, or says why it failed; nothing after cancel().
  template <class Then>
  auto step(Then then, std::string what) {
    return [self = shared_from_this(), then = std::move(then), what = std::move(what)](error_code ec, const auto&...) {
      if (self->goes_on(ec, what)) then();
    };
  }
  bool goes_on(error_code ec, const std::string& what) {
    if (listener_ == nullptr) return false;
    if (ec) end({.whole = false, .why = what + ": " + ec.message()});
    return !ec;
  }

 public:
  void start() {
    if (!is_address(call_.host)) {
      return resolver_.async_resolve(
          call_.host, call_.port, [self = shared_from_this()](error_code ec, const Tcp::resolver::results_type& all) {
            if (self->goes_on(ec, "name " + self->call_.host)) self->connect(all);
          });
    }
    unsigned short port = 0;
    std::from_chars(call_.port.data(), call_.port.data() + call_.port.size(), port);
    const Tcp::endpoint address(asio::ip::make_address(call_.host), port);
    connect(std::vector<Tcp::endpoint>{address});
  }

  void cancel() override {
    listener_ = nullptr;
    resolver_.cancel();
    beast::get_lowest_layer(stream_).close();
  }

 private:
  template <class Endpoints>
  void connect(const Endpoints& all) {
    beast::get_lowest_layer(stream_).expires_after(dial_time);
    beast::get_lowest_layer(stream_).async_connect(all, step([this] { secure(); }, "connection"));
  }

  void secure() {
    notice_dead_peers(beast::get_lowest_layer(stream_).socket().native_handle());
    if (!is_address(call_.server_name)) {  // what SSL_set_tlsext_host_name does, without its cast
      ::SSL_ctrl(stream_.native_handle(), SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
                 call_.server_name.data());
    }
    if (!call_.insecure) stream_.set_verify_callback(ssl::host_name_verification(call_.server_name));
    beast::get_lowest_layer(stream_).expires_after(handshake_time);
    stream_.async_handshake(ssl::stream_base::client, step([this] { write(); }, "TLS"));
  }

  void write() {
    beast::get_lowest_layer(stream_).expires_after(request_time);
    http::async_write(stream_, request_, step([this] { read_head(); }, "request"));
  }

  /// How long the answer may be silent is for the listener to say.
  void read_head() {
    beast::get_lowest_layer(stream_).expires_never();
    http::async_read_header(stream_, buffer_, parser_, step([this] { tell_head(); }, "answer"));
  }

  void tell_head() {
    const auto& message = parser_.get();
    reflector::Head head;
    head.status = message.result_int();
    head.content_type = message[http::field::content_type];
    head.retry_after = retry_after_of(message[http::field::retry_after]);
    head.flow_schema = message["X-Kubernetes-PF-FlowSchema-UID"];
    listener_->on_head(head);
    if (listener_ != nullptr) read_body();
  }

  void read_body() {
    if (parser_.is_done()) return end({.whole = true, .why = {}});
    parser_.get().body().data = bytes_.data();
    parser_.get().body().size = bytes_.size();
    http::async_read_some(stream_, buffer_, parser_, [self = shared_from_this()](error_code ec, std::size_t) {
      if (self->listener_ == nullptr) return;
      const auto length = self->bytes_.size() - self->parser_.get().body().size;
      if (length > 0) self->listener_->on_bytes({self->bytes_.data(), length});
      if (self->listener_ == nullptr) return;
      if (ec && ec != http::error::need_buffer) return self->end({.whole = false, .why = "answer: " + ec.message()});
      self->read_body();
    });
  }

  void end(const reflector::Closed& closed) {
    auto* listener = std::exchange(listener_, nullptr);
    beast::get_lowest_layer(stream_).close();
    listener->on_close(closed);
  }

  TlsContext tls_;
  Call call_;
  Tcp::resolver resolver_;
  beast::ssl_stream<beast::tcp_stream> stream_;
  Listener* listener_;
  http::request<http::string_body> request_;
  http::response_parser<http::buffer_body> parser_;
  beast::flat_buffer buffer_{longest_header};
  std::array<char, piece> bytes_{};
};

}  // namespace

std::shared_ptr<HttpExchange> HttpExchange::open(asio::io_context& io, TlsContext tls, Call call, Listener& listener) {
  auto exchange = std::make_shared<Exchange>(io, std::move(tls), std::move(call), listener);
  asio::post(io, [exchange] { exchange->start(); });
  return exchange;
}

}  // namespace podfence::kube
