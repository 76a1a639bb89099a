#pragma once
// Where the API server is and who we are to it: from the pod's own service account, or from kubeconfig files. What the
// files name is read later (credentials.h). Errors name the file and the field.
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "enforcer/kubeconfig/proxy.h"
#include "policy/base/result.h"

namespace podfence::kubeconfig {

/// Bytes that stand in the configuration, or a file that has them and is read again.
struct Material {
  std::string data;
  std::string file;
  bool given() const { return !data.empty() || !file.empty(); }
  friend bool operator==(const Material&, const Material&) = default;
};

struct ClientConfig {
  std::string origin;  // for messages
  std::string host;    // a name or an address, without brackets
  std::string port;
  std::string base_path;    // before every path; "" or "/prefix"
  std::string server_name;  // that the server's certificate must have
  bool insecure = false;    // the server is not verified
  Material ca;              // nothing: the system's
  Material certificate;
  Material key;
  Material token;
  std::string user;
  std::string password;
  std::optional<Proxy> proxy;
};

/// The value of an environment variable, or nothing.
using Environment = std::function<std::optional<std::string>(const std::string&)>;

struct Choice {
  std::string file;     // --kubeconfig; "" = KUBECONFIG, and without it the service account
  std::string context;  // "" = current-context
};

constexpr const char* service_account_directory = "/var/run/secrets/kubernetes.io/serviceaccount";

/// With the proxy that the environment names, where the files name none.
Result<ClientConfig> load(const Choice& choice, const Environment& environment);

/// KUBERNETES_SERVICE_HOST and _PORT, and the files of the directory.
Result<ClientConfig> in_cluster(const Environment& environment, const std::string& directory);

/// The files merged: of what several have, the first counts. Those that are missing are passed over, unless none is
/// there.
Result<ClientConfig> from_files(const std::vector<std::string>& files, const std::string& context);

/// https://HOST[:PORT][/PATH] into host, port, base_path and server_name.
Result<> parse_server(const std::string& url, ClientConfig& config);

}  // namespace podfence::kubeconfig
