#pragma once
// One request over TLS, HTTP/1.1, on a connection of its own; its answer piece by piece as it comes. Never a redirect,
// no encoding asked for, a header of at most 64 KiB. A peer that is gone is noticed within 45 s. Through a proxy where
// the call has one: it is told the server's name and port (CONNECT), and of TLS sees bytes only.
#include <boost/asio/io_context.hpp>
#include <memory>
#include <optional>
#include <string>

#include "enforcer/kube/tls.h"
#include "enforcer/reflector/exchange.h"

namespace podfence::kube {

struct Call {
  std::string host;
  std::string port;
  std::string server_name;  // for the certificate
  bool insecure = false;
  std::string target;
  std::string authorization;
  std::string user_agent;
  std::string accept = "application/json";
  std::string method = "GET";
  std::string content_type = {};  // of the body
  std::string body = {};
  std::optional<kubeconfig::Proxy> proxy = {};
};

/// GET of a path of the configured server; who asks is for the caller to fill in.
Call call_to(const kubeconfig::ClientConfig& config, const std::string& path);

class HttpExchange {
 public:
  class Listener {
   public:
    virtual ~Listener() = default;
    virtual void on_head(const reflector::Head& head) = 0;
    virtual void on_bytes(std::string_view bytes) = 0;
    virtual void on_close(const reflector::Closed& closed) = 0;
  };

  /// The listener hears nothing before this returns, and nothing after cancel().
  static std::shared_ptr<HttpExchange> open(boost::asio::io_context& io, TlsContext tls, Call call, Listener& listener);
  virtual ~HttpExchange() = default;
  virtual void cancel() = 0;
};

}  // namespace podfence::kube
