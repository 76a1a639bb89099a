#pragma once
// The agent's pages for machines: GET and HEAD of a fixed set of paths, over plain HTTP, on the loopback address unless
// configured otherwise. Nothing can be changed here, and nothing that is asked is kept: a request has no body, a header
// of at most 8 KiB and five seconds; a connection serves one request; at most 32 are served at once, one more is
// closed.
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <string>
#include <string_view>

#include "policy/base/result.h"

namespace podfence::agent {

struct Page {
  unsigned status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
};

/// Makes the page for a path; called on the io_context's thread.
class Pages {
 public:
  virtual ~Pages() = default;
  virtual Page page(std::string_view path) = 0;
};

/// "127.0.0.1:9100" or "[::1]:9100".
Result<boost::asio::ip::tcp::endpoint> parse_http_address(std::string_view text);

class HttpServer {
 public:
  static constexpr std::size_t most_sessions = 32;

  /// Errors name the address: it is taken, or not this machine's.
  static Result<std::unique_ptr<HttpServer>> listen(boost::asio::io_context& io,
                                                    const boost::asio::ip::tcp::endpoint& address, Pages& pages);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  boost::asio::ip::tcp::endpoint address() const { return acceptor_.local_endpoint(); }

 private:
  class Session;
  HttpServer(boost::asio::io_context& io, Pages& pages);
  void accept();

  boost::asio::ip::tcp::acceptor acceptor_;
  boost::asio::steady_timer pause_;
  Pages& pages_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // handlers that wait in the io_context see it go
  std::shared_ptr<std::size_t> sessions_ = std::make_shared<std::size_t>(0);
};

}  // namespace podfence::agent
