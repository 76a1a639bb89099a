#include "enforcer/kube/tls.h"

#include <boost/asio/buffer.hpp>

namespace podfence::kube {
namespace {

namespace asio = boost::asio;
namespace ssl = asio::ssl;

std::string name_of(const kubeconfig::Material& material, const char* what) {
  return material.file.empty() ? std::string(what) : material.file;
}

}  // namespace

Result<TlsContext> make_tls(const kubeconfig::ClientConfig& config, const kubeconfig::Credentials::Tls& material) {
  auto context = std::make_shared<ssl::context>(ssl::context::tls_client);
  boost::system::error_code ec;
  const auto refused = [&](const std::string& what) {
    return fail(Errc::invalid, config.origin + ": " + what + ": " + ec.message());
  };
  if (::SSL_CTX_set_min_proto_version(context->native_handle(), TLS1_2_VERSION) != 1) {
    return fail(Errc::invalid, "TLS 1.2 is not supported");
  }
  context->set_verify_mode(config.insecure ? ssl::verify_none : ssl::verify_peer, ec);
  if (!config.ca.given()) {
    context->set_default_verify_paths(ec);
    if (ec) return refused("the system's certificates");
  } else {
    context->add_certificate_authority(asio::buffer(material.ca), ec);
    if (ec) return refused(name_of(config.ca, "certificate-authority-data"));
  }
  if (!config.certificate.given()) return context;
  context->use_certificate_chain(asio::buffer(material.certificate), ec);
  if (ec) return refused(name_of(config.certificate, "client-certificate-data"));
  context->use_private_key(asio::buffer(material.key), ssl::context::pem, ec);
  if (ec) return refused(name_of(config.key, "client-key-data"));
  if (::SSL_CTX_check_private_key(context->native_handle()) != 1) {
    return fail(Errc::invalid, config.origin + ": the client-key does not belong to the client-certificate");
  }
  return context;
}

Result<TlsSource> TlsSource::open(kubeconfig::Credentials& credentials, kubeconfig::Credentials::Time now) {
  TlsSource source(credentials);
  source.material_ = credentials.tls(now);
  auto context = make_tls(credentials.config(), source.material_);
  if (!context) return fail(context.error());
  source.context_ = std::move(*context);
  return source;
}

TlsContext TlsSource::context(kubeconfig::Credentials::Time now) {
  const auto& material = credentials_->tls(now);
  if (material == material_) return context_;
  auto context = make_tls(credentials_->config(), material);
  problem_ = context ? "" : context.error().what();
  if (!context) return context_;
  new_certificate_ = material.certificate != material_.certificate || material.key != material_.key;
  material_ = material;
  context_ = std::move(*context);
  return context_;
}

bool TlsSource::took_new_certificate() {
  return std::exchange(new_certificate_, false);
}

}  // namespace podfence::kube
