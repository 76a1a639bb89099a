#include "enforcer/kubeconfig/proxy.h"

#include <algorithm>
#include <charconv>

#include "enforcer/kubeconfig/authority.h"
#include "policy/base/base64.h"
#include "policy/net/cidr.h"

namespace podfence::kubeconfig {
namespace {

/// What the URL's credentials are left out of.
std::string shown(std::string_view url) {
  const auto scheme = url.find("://");
  const auto at = url.rfind('@');
  if (at == std::string_view::npos) return std::string(url);
  return std::string(scheme < at ? url.substr(0, scheme + 3) : "") + std::string(url.substr(at + 1));
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return out;
}

std::string_view trimmed(std::string_view text) {
  const char* space = " \t\r\n";
  text.remove_prefix(std::min(text.find_first_not_of(space), text.size()));
  return text.substr(0, text.find_last_not_of(space) + 1);
}

/// Nothing: %XX that is none.
std::optional<std::string> percent_decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    unsigned value = 0;
    const auto digits = text.substr(i + 1, 2);
    const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    if (digits.size() != 2 || read.ptr != digits.data() + 2) return std::nullopt;
    out += static_cast<char>(value);
    i += 2;
  }
  return out;
}

bool take_credentials(std::string_view text, Proxy& proxy) {
  const auto colon = std::min(text.find(':'), text.size());
  auto user = percent_decoded(text.substr(0, colon));
  auto password = percent_decoded(text.substr(std::min(colon + 1, text.size())));
  if (!user || !password) return false;
  proxy.user = std::move(*user);
  proxy.password = std::move(*password);
  return true;
}

bool is_loopback(const net::IpAddr& address) {
  static const auto v4 = net::Cidr::around(net::IpAddr::v4(127, 0, 0, 0), 8);
  static const auto v6 = net::IpAddr::parse("::1");
  return v4.contains(address) || address == *v6;
}

/// One entry of NO_PROXY, in lower case.
class Entry {
 public:
  explicit Entry(std::string_view text) : block_(net::Cidr::parse(text)), name_(text) {
    const auto colon = text.rfind(':');
    const bool one_colon = colon != std::string_view::npos && text.find(':') == colon;
    const bool behind_brackets = text.starts_with('[') && colon != std::string_view::npos && text[colon - 1] == ']';
    if (one_colon || behind_brackets) {
      name_ = text.substr(0, colon);
      port_ = text.substr(colon + 1);
    }
    if (behind_brackets) name_ = name_.substr(1, name_.size() - 2);
    if (name_.starts_with("*.")) name_.erase(0, 1);
  }

  bool has(std::string_view host, const std::optional<net::IpAddr>& address, std::string_view port) const {
    if (address && block_) return block_->contains(*address);
    if (name_.empty() || (!port_.empty() && port_ != port)) return false;
    if (const auto own = net::IpAddr::parse(name_); own || address) return own && address && *own == *address;
    if (name_.front() == '.') return host.ends_with(name_);
    return host == name_ || host.ends_with("." + name_);
  }

 private:
  Result<net::Cidr> block_;
  std::string name_;
  std::string port_;
};

}  // namespace

std::string Proxy::text() const {
  return "http://" + join_authority(host, port);
}

std::string Proxy::authorization() const {
  return user.empty() && password.empty() ? "" : "Basic " + encode_base64(user + ":" + password);
}

Result<Proxy> parse_proxy(std::string_view url) {
  const auto refused = [&](const std::string& why) { return fail(Errc::invalid, "'" + shown(url) + "': " + why); };
  const std::string form = "expected http://[USER:PASSWORD@]HOST[:PORT]";
  std::string_view rest = url;
  if (const auto scheme = rest.find("://"); scheme != std::string_view::npos) {
    const auto name = lower(rest.substr(0, scheme));
    if (name != "http") return refused("a proxy of scheme '" + name + "' is not supported: " + form);
    rest.remove_prefix(scheme + 3);
  }
  for (const char c : rest) {
    if (c <= ' ' || c >= 0x7f) return refused(form);
  }
  rest = rest.substr(0, rest.find_first_of("/?#"));
  Proxy proxy;
  proxy.port = "80";
  if (const auto at = rest.rfind('@'); at != std::string_view::npos) {
    if (!take_credentials(rest.substr(0, at), proxy))
      return refused("the credentials are not percent-encoded: " + form);
    rest.remove_prefix(at + 1);
  }
  if (const auto split = split_authority(rest, proxy.host, proxy.port); !split) return refused(split.error().what());
  return proxy;
}

bool goes_direct(std::string_view no_proxy, std::string_view host, std::string_view port) {
  const auto name = lower(trimmed(host));
  std::optional<net::IpAddr> address;
  if (const auto parsed = net::IpAddr::parse(name)) address = *parsed;
  if (name == "localhost" || (address && is_loopback(*address))) return true;
  while (!no_proxy.empty()) {
    const auto comma = std::min(no_proxy.find(','), no_proxy.size());
    const auto entry = lower(trimmed(no_proxy.substr(0, comma)));
    no_proxy.remove_prefix(std::min(comma + 1, no_proxy.size()));
    if (entry == "*" || (!entry.empty() && Entry(entry).has(name, address, port))) return true;
  }
  return false;
}

Result<std::optional<Proxy>> proxy_for(std::string_view host, std::string_view port, std::string_view https_proxy,
                                       std::string_view no_proxy) {
  if (https_proxy.empty() || goes_direct(no_proxy, host, port)) return std::nullopt;
  auto proxy = parse_proxy(https_proxy);
  if (!proxy) return fail(std::move(proxy.error()).in("HTTPS_PROXY"));
  return std::optional<Proxy>(std::move(*proxy));
}

}  // namespace podfence::kubeconfig
