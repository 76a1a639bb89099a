#include "enforcer/kubeconfig/client_config.h"

#include <charconv>

namespace podfence::kubeconfig {
namespace {

bool is_port(std::string_view text) {
  unsigned short number = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
  return read.ec == std::errc() && read.ptr == text.data() + text.size() && number != 0;
}

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> parts;
  std::size_t from = 0;
  while (from <= list.size()) {
    const auto colon = std::min(list.find(':', from), list.size());
    if (colon > from) parts.push_back(list.substr(from, colon - from));
    from = colon + 1;
  }
  return parts;
}

}  // namespace

Result<ClientConfig> load(const Choice& choice, const Environment& environment) {
  if (!choice.file.empty()) return from_files({choice.file}, choice.context);
  if (const auto list = environment("KUBECONFIG"); list && !list->empty()) {
    return from_files(split(*list), choice.context);
  }
  if (!choice.context.empty()) {
    return fail(Errc::invalid, "context '" + choice.context + "': needs --kubeconfig or KUBECONFIG");
  }
  return in_cluster(environment, service_account_directory);
}

Result<ClientConfig> in_cluster(const Environment& environment, const std::string& directory) {
  const auto host = environment("KUBERNETES_SERVICE_HOST");
  const auto port = environment("KUBERNETES_SERVICE_PORT");
  if (!host || host->empty() || !port || port->empty()) {
    return fail(Errc::not_found,
                "no API server is known: expected --kubeconfig, KUBECONFIG, or KUBERNETES_SERVICE_HOST and "
                "KUBERNETES_SERVICE_PORT as in a pod");
  }
  if (!is_port(*port)) return fail(Errc::invalid, "KUBERNETES_SERVICE_PORT '" + *port + "': expected a port");
  ClientConfig config;
  config.origin = "service account in " + directory;
  config.host = config.server_name = *host;
  config.port = *port;
  config.ca.file = directory + "/ca.crt";
  config.token.file = directory + "/token";
  return config;
}

Result<> parse_server(const std::string& url, ClientConfig& config) {
  const auto refused = [&](const char* why) { return fail(Errc::invalid, "server '" + url + "': " + why); };
  constexpr std::string_view scheme = "https://";
  std::string_view rest = url;
  if (!rest.starts_with(scheme)) return refused("expected https://HOST[:PORT]");
  rest.remove_prefix(scheme.size());
  for (const char c : rest) {
    if (c <= ' ' || c >= 0x7f || c == '@' || c == '?' || c == '#')
      return refused("expected https://HOST[:PORT][/PATH]");
  }
  const auto slash = std::min(rest.find('/'), rest.size());
  auto authority = rest.substr(0, slash);
  config.base_path = rest.substr(slash);
  while (config.base_path.ends_with('/')) config.base_path.pop_back();
  config.port = "443";
  const auto bracket = authority.find(']');
  const auto colon = authority.find(':', bracket == std::string_view::npos ? 0 : bracket);
  if (colon != std::string_view::npos) {
    config.port = authority.substr(colon + 1);
    if (!is_port(config.port)) return refused("expected a port from 1 to 65535");
    authority = authority.substr(0, colon);
  }
  if (bracket != std::string_view::npos) {
    if (authority.size() < 3 || authority.front() != '[' || authority.back() != ']') return refused("expected [IPv6]");
    authority = authority.substr(1, authority.size() - 2);
  }
  if (authority.empty()) return refused("expected a host");
  config.host = config.server_name = authority;
  return {};
}

}  // namespace podfence::kubeconfig
