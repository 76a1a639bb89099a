#pragma once
// The HTTP proxy between the agent and the API server, by the rules of client-go: `proxy-url` of a kubeconfig counts
// before the environment and is asked for every server; HTTPS_PROXY is asked unless NO_PROXY names the server. The
// server is always https, so HTTP_PROXY is nobody's. No text of this file shows a password.
#include <optional>
#include <string>
#include <string_view>

#include "policy/base/result.h"

namespace podfence::kubeconfig {

struct Proxy {
  std::string host;  // without brackets
  std::string port;
  std::string user;
  std::string password;

  /// http://HOST:PORT
  std::string text() const;
  /// The value of the header Proxy-Authorization; "" = none.
  std::string authorization() const;
  friend bool operator==(const Proxy&, const Proxy&) = default;
};

/// [http://][USER[:PASSWORD]@]HOST[:PORT]; percent-encoded credentials are decoded, a path is passed over.
Result<Proxy> parse_proxy(std::string_view url);

/// What HTTPS_PROXY and NO_PROXY say of an https server; nothing: it is reached without a proxy.
Result<std::optional<Proxy>> proxy_for(std::string_view host, std::string_view port, std::string_view https_proxy,
                                       std::string_view no_proxy);

/// Whether a server is reached without a proxy: localhost, a loopback address, or what an entry of the list names.
/// Entries are separated by commas: `*`, a CIDR block, an address, or a name, with what is below it, too
/// (`.example.com` and
/// `*.example.com`: only that). Addresses and names may have a port behind them.
bool goes_direct(std::string_view no_proxy, std::string_view host, std::string_view port);

}  // namespace podfence::kubeconfig
