#include "enforcer/agent/http.h"

#include <boost/asio/ip/address.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <charconv>
#include <chrono>
#include <optional>

namespace podfence::agent {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using boost::system::error_code;
using Tcp = asio::ip::tcp;

constexpr std::size_t longest_header = 8192;
constexpr std::chrono::seconds session_time{5};
constexpr std::chrono::milliseconds accept_pause{100};

}  // namespace

Result<Tcp::endpoint> parse_http_address(std::string_view text) {
  const auto refused = [&] {
    return fail(Errc::invalid, "http-address '" + std::string(text) + "': expected ADDRESS:PORT, as 127.0.0.1:9100");
  };
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return refused();
  auto host = text.substr(0, colon);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  unsigned short port = 0;
  const auto digits = text.substr(colon + 1);
  const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (digits.empty() || read.ec != std::errc() || read.ptr != digits.data() + digits.size()) return refused();
  error_code ec;
  const auto address = asio::ip::make_address(std::string(host), ec);
  if (ec || address.is_v6() != bracketed) return refused();
  return Tcp::endpoint(address, port);
}

/// One connection; its handlers keep it alive.
class HttpServer::Session : public std::enable_shared_from_this<HttpServer::Session> {
 public:
  Session(Tcp::socket socket, Pages& pages, std::shared_ptr<bool> alive, std::shared_ptr<std::size_t> count)
      : stream_(std::move(socket)), pages_(pages), alive_(std::move(alive)), count_(std::move(count)) {
    ++*count_;
  }
  ~Session() { --*count_; }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void start() {
    stream_.expires_after(session_time);
    parser_.header_limit(longest_header);
    parser_.body_limit(std::uint64_t{0});
    http::async_read(stream_, buffer_, parser_, [self = shared_from_this()](beast::error_code ec, std::size_t) {
      if (!*self->alive_ || ec == http::error::end_of_stream) return;
      if (ec == beast::error::timeout) return;
      if (ec) return self->send({400, "text/plain; charset=utf-8", "no request that is understood here\n"});
      self->answer();
    });
  }

 private:
  void answer() {
    const auto& request = parser_.get();
    head_ = request.method() == http::verb::head;
    if (!head_ && request.method() != http::verb::get) {
      return send({405, "text/plain; charset=utf-8", "GET and HEAD only\n"});
    }
    const std::string_view target(request.target().data(), request.target().size());
    send(pages_.page(target.substr(0, target.find('?'))));
  }

  void send(Page page) {
    response_.version(11);
    response_.result(page.status);
    response_.set(http::field::content_type, page.content_type);
    response_.set(http::field::cache_control, "no-store");
    response_.set("X-Content-Type-Options", "nosniff");
    if (page.status == 405) response_.set(http::field::allow, "GET, HEAD");
    response_.keep_alive(false);
    response_.content_length(page.body.size());
    if (!head_) response_.body() = std::move(page.body);
    http::async_write(stream_, response_, [self = shared_from_this()](beast::error_code, std::size_t) {
      beast::error_code ignored;
      self->stream_.socket().shutdown(Tcp::socket::shutdown_send, ignored);
    });
  }

  beast::tcp_stream stream_;
  beast::flat_buffer buffer_{longest_header * 2};
  http::request_parser<http::empty_body> parser_;
  http::response<http::string_body> response_;
  bool head_ = false;
  Pages& pages_;
  std::shared_ptr<bool> alive_;
  std::shared_ptr<std::size_t> count_;
};

HttpServer::HttpServer(asio::io_context& io, Pages& pages) : acceptor_(io), pause_(io), pages_(pages) {}

HttpServer::~HttpServer() {
  *alive_ = false;
}

Result<std::unique_ptr<HttpServer>> HttpServer::listen(asio::io_context& io, const Tcp::endpoint& address,
                                                       Pages& pages) {
  std::unique_ptr<HttpServer> server(new HttpServer(io, pages));
  auto& acceptor = server->acceptor_;
  error_code ec;
  acceptor.open(address.protocol(), ec);
  if (!ec) acceptor.set_option(Tcp::acceptor::reuse_address(true), ec);
  if (!ec) acceptor.bind(address, ec);
  if (!ec) acceptor.listen(Tcp::acceptor::max_listen_connections, ec);
  if (ec) {
    const auto code = ec == boost::system::errc::address_in_use ? Errc::busy : Errc::io;
    return fail(code, "http-address " + address.address().to_string() + " port " + std::to_string(address.port()) +
                          ": " + ec.message());
  }
  server->accept();
  return server;
}

void HttpServer::accept() {
  acceptor_.async_accept([this, alive = alive_](error_code ec, Tcp::socket socket) {
    if (!*alive || ec == asio::error::operation_aborted) return;
    if (ec) {  // out of descriptors, most likely: they come back
      pause_.expires_after(accept_pause);
      return pause_.async_wait([this, alive](error_code cancelled) {
        if (*alive && !cancelled) accept();
      });
    }
    if (*sessions_ < most_sessions) std::make_shared<Session>(std::move(socket), pages_, alive_, sessions_)->start();
    accept();
  });
}

}  // namespace podfence::agent
