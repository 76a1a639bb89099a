#include "cni/config.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cni/env.h"
#include "cni/raw_json.h"

namespace podfence::cni {
namespace {

using Json = nlohmann::json;

constexpr std::size_t longest_socket = 107;  // of sockaddr_un
constexpr double longest_deadline = 300;

Outcome<> read_string(const Json& object, const char* key, std::string& into) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return {};
  if (!found->is_string()) return refuse(Code::invalid_config, std::string(key) + " must be a string", found->dump());
  into = found->get_ref<const std::string&>();
  return {};
}

Outcome<> read_path(const Json& object, const char* key, std::string& into) {
  if (auto read = read_string(object, key, into); !read) return read;
  if (into.empty() || (into.front() == '/' && into.find('\0') == std::string::npos)) return {};
  return refuse(Code::invalid_config, std::string(key) + " must be an absolute path", into);
}

Outcome<> read_version(const Json& object, Config& config) {
  if (auto read = read_string(object, "cniVersion", config.cni_version); !read) return read;
  if (config.cni_version.empty()) config.cni_version = "0.1.0";  // so says the specification of that time
  const auto& known = supported_versions();
  if (std::find(known.begin(), known.end(), config.cni_version) != known.end()) return {};
  std::string list;
  for (const std::string& version : known) list += (list.empty() ? "\"" : " \"") + version + '"';
  return refuse(Code::incompatible_version, "incompatible CNI versions",
                "config is \"" + config.cni_version + "\", plugin supports [" + list + "]");
}

Outcome<> read_network(const Json& object, Config& config) {
  if (auto read = read_string(object, "name", config.network); !read) return read;
  if (config.network.empty()) return refuse(Code::invalid_config, "missing network name");
  if (is_identifier(config.network)) return {};
  return refuse(Code::invalid_config, "invalid characters found in network name", config.network);
}

Outcome<> read_deadline(const Json& object, Config& config) {
  const auto found = object.find("deadlineSeconds");
  if (found == object.end() || found->is_null()) return {};
  const double seconds = found->is_number() ? found->get<double>() : 0;
  if (!(seconds >= 0.001 && seconds <= longest_deadline)) {
    return refuse(Code::invalid_config, "deadlineSeconds must be a number above 0, at most 300", found->dump());
  }
  config.deadline = std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000));
  return {};
}

Outcome<> read_unavailable(const Json& object, Config& config) {
  std::string choice = "wait";
  if (auto read = read_string(object, "onAgentUnavailable", choice); !read) return read;
  if (choice != "wait" && choice != "deny") {
    return refuse(Code::invalid_config, "onAgentUnavailable must be wait or deny", choice);
  }
  config.on_agent_unavailable = choice == "deny" ? WhenUnavailable::deny : WhenUnavailable::wait;
  return {};
}

/// cni.dev/attachments is what the first 1.1.0 libraries sent; later ones send both.
Outcome<> read_attachments(const Json& object, Config& config) {
  auto found = object.find("cni.dev/valid-attachments");
  if (found == object.end()) found = object.find("cni.dev/attachments");
  if (found == object.end()) return {};
  std::vector<Attachment> list;
  if (!found->is_array() && !found->is_null()) {
    return refuse(Code::invalid_config, "cni.dev/valid-attachments must be a list");
  }
  for (const Json& entry : *found) {
    Attachment attachment;
    if (!entry.is_object()) return refuse(Code::invalid_config, "cni.dev/valid-attachments: not an object");
    if (auto read = read_string(entry, "containerID", attachment.container_id); !read) return read;
    if (auto read = read_string(entry, "ifname", attachment.ifname); !read) return read;
    if (attachment.container_id.empty() || attachment.ifname.empty()) {
      return refuse(Code::invalid_config, "cni.dev/valid-attachments: containerID or ifname is missing");
    }
    list.push_back(std::move(attachment));
  }
  config.valid_attachments = std::move(list);
  return {};
}

Outcome<> read_paths(const Json& object, Config& config) {
  if (auto read = read_path(object, "socket", config.socket); !read) return read;
  if (auto read = read_path(object, "stateDir", config.state_dir); !read) return read;
  if (auto read = read_path(object, "logFile", config.log_file); !read) return read;
  if (config.socket.empty() || config.state_dir.empty()) {
    return refuse(Code::invalid_config, "socket and stateDir must not be empty");
  }
  if (config.socket.size() <= longest_socket) return {};
  return refuse(Code::invalid_config, "socket is longer than the 107 bytes that a socket's path may have",
                config.socket);
}

}  // namespace

const std::vector<std::string>& supported_versions() {
  static const std::vector<std::string> versions{"0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"};
  return versions;
}

bool version_at_least(std::string_view version, std::string_view first) {
  const auto& known = supported_versions();
  return std::find(known.begin(), known.end(), version) >= std::find(known.begin(), known.end(), first);
}

Outcome<Config> read_config(std::string_view text) {
  const Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded()) {
    return refuse(Code::decoding_failure, text.empty() ? "the configuration on standard input is empty"
                                                       : "the configuration on standard input is no valid JSON");
  }
  if (!json.is_object()) return refuse(Code::decoding_failure, "the configuration is no JSON object");
  Config config;
  for (const auto step : {read_network, read_version, read_paths, read_deadline, read_unavailable, read_attachments}) {
    if (auto read = step(json, config); !read) return refuse(read.error());
  }
  const auto previous = json.find("prevResult");
  if (previous != json.end() && !previous->is_null()) {
    const auto raw = raw_member(text, "prevResult");
    if (raw) config.prev_result = std::string(*raw);
  }
  return config;
}

}  // namespace podfence::cni
