#include "enforcer/kubeconfig/client_config.h"

#include "enforcer/kubeconfig/authority.h"

namespace podfence::kubeconfig {
namespace {

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

/// By one name or the other; an empty one is none.
std::string variable(const Environment& environment, const char* upper, const char* lower) {
  const auto value = environment(upper);
  return value && !value->empty() ? *value : environment(lower).value_or("");
}

Result<ClientConfig> without_environments_proxy(const Choice& choice, const Environment& environment) {
  if (!choice.file.empty()) return from_files({choice.file}, choice.context);
  if (const auto list = environment("KUBECONFIG"); list && !list->empty()) {
    return from_files(split(*list), choice.context);
  }
  if (!choice.context.empty()) {
    return fail(Errc::invalid, "context '" + choice.context + "': needs --kubeconfig or KUBECONFIG");
  }
  return in_cluster(environment, service_account_directory);
}

}  // namespace

Result<ClientConfig> load(const Choice& choice, const Environment& environment) {
  auto config = without_environments_proxy(choice, environment);
  if (!config || config->proxy) return config;
  auto proxy = proxy_for(config->host, config->port, variable(environment, "HTTPS_PROXY", "https_proxy"),
                         variable(environment, "NO_PROXY", "no_proxy"));
  if (!proxy) return fail(proxy.error());
  config->proxy = std::move(*proxy);
  return config;
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
  const auto refused = [&](const std::string& why) { return fail(Errc::invalid, "server '" + url + "': " + why); };
  constexpr std::string_view scheme = "https://";
  std::string_view rest = url;
  if (!rest.starts_with(scheme)) return refused("expected https://HOST[:PORT]");
  rest.remove_prefix(scheme.size());
  for (const char c : rest) {
    if (c <= ' ' || c >= 0x7f || c == '@' || c == '?' || c == '#')
      return refused("expected https://HOST[:PORT][/PATH]");
  }
  const auto slash = std::min(rest.find('/'), rest.size());
  const auto authority = rest.substr(0, slash);
  config.base_path = rest.substr(slash);
  while (config.base_path.ends_with('/')) config.base_path.pop_back();
  config.port = "443";
  if (const auto split = split_authority(authority, config.host, config.port); !split) {
    return refused(split.error().what());
  }
  config.server_name = config.host;
  return {};
}

}  // namespace podfence::kubeconfig
