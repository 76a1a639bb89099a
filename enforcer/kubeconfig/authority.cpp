#include "enforcer/kubeconfig/authority.h"

#include <charconv>

namespace podfence::kubeconfig {

bool is_port(std::string_view text) {
  unsigned short number = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
  return read.ec == std::errc() && read.ptr == text.data() + text.size() && number != 0;
}

std::string join_authority(const std::string& host, const std::string& port) {
  return (host.find(':') == std::string::npos ? host : "[" + host + "]") + ":" + port;
}

Result<> split_authority(std::string_view authority, std::string& host, std::string& port) {
  const auto bracket = authority.find(']');
  const auto colon = authority.find(':', bracket == std::string_view::npos ? 0 : bracket);
  if (colon != std::string_view::npos) {
    port = authority.substr(colon + 1);
    if (!is_port(port)) return fail(Errc::invalid, "expected a port from 1 to 65535");
    authority = authority.substr(0, colon);
  }
  if (bracket != std::string_view::npos) {
    if (authority.size() < 3 || authority.front() != '[' || authority.back() != ']') {
      return fail(Errc::invalid, "expected [IPv6]");
    }
    authority = authority.substr(1, authority.size() - 2);
  }
  if (authority.empty()) return fail(Errc::invalid, "expected a host");
  host = authority;
  return {};
}

}  // namespace podfence::kubeconfig
