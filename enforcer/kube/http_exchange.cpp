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

#include "enforcer/kubeconfig/authority.h"

namespace podfence::kube {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
namespace ssl = asio::ssl;
using Tcp = asio::ip::tcp;
using boost::system::error_code;

constexpr std::chrono::seconds dial_time{30};  // of a proxy and of the server behind it together
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
    request_.set(http::field::host, kubeconfig::join_authority(call_.host, call_.port));
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
    if (ec) end({.whole = false, .why = what + ": " + ec.message() + about_certificate()});
    return !ec;
  }

  /// What is wrong with the server's certificate, if that was found and counts.
  std::string about_certificate() {
    if (call_.insecure) return "";
    const auto found = ::SSL_get_verify_result(stream_.native_handle());
    if (found == X509_V_OK) return "";
    const std::string why = ::X509_verify_cert_error_string(found);
    return " (" + why + "; it has to be valid for '" + call_.server_name + "')";
  }

 public:
  void start() {
    const auto& host = call_.proxy ? call_.proxy->host : call_.host;
    const auto& port = call_.proxy ? call_.proxy->port : call_.port;
    if (!is_address(host)) {
      return resolver_.async_resolve(
          host, port, [self = shared_from_this(), host](error_code ec, const Tcp::resolver::results_type& all) {
            if (self->goes_on(ec, self->at_proxy("name " + host))) self->connect(all);
          });
    }
    unsigned short number = 0;
    std::from_chars(port.data(), port.data() + port.size(), number);
    const Tcp::endpoint address(asio::ip::make_address(host), number);
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
    beast::get_lowest_layer(stream_).async_connect(all, step([this] { connected(); }, at_proxy("connection")));
  }

  void connected() {
    notice_dead_peers(beast::get_lowest_layer(stream_).socket().native_handle());
    if (!call_.proxy) return secure();
    const auto server = kubeconfig::join_authority(call_.host, call_.port);
    tunnel_request_.version(11);
    tunnel_request_.method(http::verb::connect);
    tunnel_request_.target(server);
    tunnel_request_.set(http::field::host, server);
    tunnel_request_.set(http::field::user_agent, call_.user_agent);
    if (const auto who = call_.proxy->authorization(); !who.empty()) {
      tunnel_request_.set(http::field::proxy_authorization, who);
    }
    http::async_write(stream_.next_layer(), tunnel_request_, step([this] { read_tunnel(); }, at_proxy("request")));
  }

  void read_tunnel() {
    tunnel_answer_.header_limit(longest_header);
    tunnel_answer_.skip(true);  // behind the header of a 200 the tunnel begins, whatever its Content-Length
    http::async_read_header(stream_.next_layer(), buffer_, tunnel_answer_,
                            step([this] { tunnel_open(); }, at_proxy("answer to CONNECT")));
  }

  void tunnel_open() {
    const auto& head = tunnel_answer_.get();
    const auto status = std::to_string(head.result_int()) + " " + std::string(http::obsolete_reason(head.result()));
    if (http::to_status_class(head.result()) != http::status_class::successful) {
      return end({.whole = false,
                  .why = at_proxy("answer to CONNECT " + std::string(tunnel_request_.target())) + ": " + status});
    }
    // In TLS the client speaks first: what came already is not the server's.
    if (buffer_.size() != 0) return end({.whole = false, .why = at_proxy("more than an answer to CONNECT")});
    secure();
  }

  /// The proxy's name before what went wrong at it, without its password.
  std::string at_proxy(const std::string& what) const {
    return call_.proxy ? "proxy " + call_.proxy->text() + ": " + what : what;
  }

  void secure() {
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
    head.content_encoding = message[http::field::content_encoding];
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
  http::request<http::empty_body> tunnel_request_;
  http::response_parser<http::empty_body> tunnel_answer_;
  http::request<http::string_body> request_;
  http::response_parser<http::buffer_body> parser_;
  beast::flat_buffer buffer_{longest_header};
  std::array<char, piece> bytes_{};
};

}  // namespace

Call call_to(const kubeconfig::ClientConfig& config, const std::string& path) {
  Call call{config.host, config.port, config.server_name, config.insecure, config.base_path + path, {}, {}};
  call.proxy = config.proxy;
  return call;
}

std::shared_ptr<HttpExchange> HttpExchange::open(asio::io_context& io, TlsContext tls, Call call, Listener& listener) {
  auto exchange = std::make_shared<Exchange>(io, std::move(tls), std::move(call), listener);
  asio::post(io, [exchange] { exchange->start(); });
  return exchange;
}

}  // namespace podfence::kube
