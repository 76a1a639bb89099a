#pragma once
// TLS to the API server: 1.2 or newer, the server verified by name or address, SNI for names only.
#include <boost/asio/ssl/context.hpp>
#include <memory>
#include <string>

#include "enforcer/kubeconfig/credentials.h"
#include "policy/base/result.h"

namespace podfence::kube {

using TlsContext = std::shared_ptr<boost::asio::ssl::context>;

Result<TlsContext> make_tls(const kubeconfig::ClientConfig& config, const kubeconfig::Credentials::Tls& material);

/// Made anew when the files have other content. What OpenSSL refuses leaves the old one in force.
class TlsSource {
 public:
  static Result<TlsSource> open(kubeconfig::Credentials& credentials, kubeconfig::Credentials::Time now);
  TlsContext context(kubeconfig::Credentials::Time now);
  /// Whether the client's own certificate has changed since the last call.
  bool took_new_certificate();
  const std::string& problem() const { return problem_; }

 private:
  explicit TlsSource(kubeconfig::Credentials& credentials) : credentials_(&credentials) {}

  kubeconfig::Credentials* credentials_;
  kubeconfig::Credentials::Tls material_;
  TlsContext context_;
  bool new_certificate_ = false;
  std::string problem_;
};

}  // namespace podfence::kube
