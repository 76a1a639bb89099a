#include "enforcer/kubeconfig/credentials.h"

#include "enforcer/files/files.h"
#include "policy/base/base64.h"

namespace podfence::kubeconfig {
namespace {

constexpr std::chrono::seconds token_age{50};  // good for 60 s, read again 10 s early
constexpr std::chrono::seconds tls_age{30};
constexpr std::size_t longest_token = 64 * 1024;
constexpr std::size_t longest_certificates = std::size_t{1} << 20U;

std::string trimmed(std::string text) {
  const char* space = " \t\r\n";
  text.erase(text.find_last_not_of(space) + 1);
  text.erase(0, text.find_first_not_of(space));
  return text;
}

/// In a header it would end the header.
bool is_header_value(std::string_view text) {
  for (const char c : text) {
    if (c < ' ' || c == 0x7f) return false;
  }
  return true;
}

Result<std::string> read(const Material& material) {
  if (material.file.empty()) return material.data;
  auto text = files::read_small_file(material.file, longest_certificates, files::Links::followed);
  if (text && trimmed(*text).empty()) return fail(Errc::invalid, material.file + ": is empty");
  return text;
}

}  // namespace

Result<Credentials> Credentials::open(ClientConfig config, Time now) {
  Credentials credentials(std::move(config));
  if (auto done = credentials.read_token(now); !done) return fail(done.error());
  if (auto done = credentials.read_tls(now); !done) return fail(done.error());
  return credentials;
}

Result<> Credentials::read_token(Time now) {
  token_read_ = now;
  token_refused_ = false;
  auto token = config_.token.data;
  if (!config_.token.file.empty()) {
    const auto text = files::read_small_file(config_.token.file, longest_token, files::Links::followed);
    if (!text) return fail(text.error());
    token = trimmed(*text);
    if (token.empty()) return fail(Errc::invalid, config_.token.file + ": is empty: expected a token");
  }
  if (!is_header_value(token)) return fail(Errc::invalid, config_.origin + ": the token has control characters");
  token_ = std::move(token);
  return {};
}

Result<> Credentials::read_tls(Time now) {
  tls_read_ = now;
  Tls fresh;
  const std::pair<const Material*, std::string*> all[] = {
      {&config_.ca, &fresh.ca}, {&config_.certificate, &fresh.certificate}, {&config_.key, &fresh.key}};
  for (const auto& [material, text] : all) {
    if (!material->given()) continue;
    auto read_text = read(*material);
    if (!read_text) return fail(read_text.error());
    *text = std::move(*read_text);
  }
  tls_ = std::move(fresh);
  return {};
}

std::string Credentials::authorization(Time now) {
  if (!config_.user.empty()) return "Basic " + encode_base64(config_.user + ":" + config_.password);
  if (!config_.token.file.empty() && (token_refused_ || now - token_read_ >= token_age)) {
    const auto done = read_token(now);
    problem_ = done ? "" : done.error().what();
  }
  return token_.empty() ? "" : "Bearer " + token_;
}

/// A token that was read after the request had been sent is not the one that was refused.
void Credentials::refused(Time sent) {
  token_refused_ = token_refused_ || token_read_ <= sent;
}

const Credentials::Tls& Credentials::tls(Time now) {
  if (now - tls_read_ >= tls_age) {
    const auto done = read_tls(now);
    problem_ = done ? "" : done.error().what();
  }
  return tls_;
}

}  // namespace podfence::kubeconfig
