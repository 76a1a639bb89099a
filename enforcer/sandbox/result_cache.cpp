#include "enforcer/sandbox/result_cache.h"

#include <simdjson.h>
#include <sys/stat.h>

#include <algorithm>
#include <optional>

#include "enforcer/files/files.h"
#include "policy/base/base64.h"
#include "policy/net/cidr.h"

namespace podfence::sandbox {
namespace {

using simdjson::dom::array;
using simdjson::dom::element;

constexpr std::size_t longest_file = std::size_t{4} << 20U;
constexpr std::string_view plugin_type = "podfence-cni";

template <class T>
T get_or(element object, const char* name, T otherwise) {
  T value = otherwise;
  return object[name].get(value) == simdjson::SUCCESS ? value : otherwise;
}

std::string text_in(element object, const char* name) {
  return std::string(get_or<std::string_view>(object, name, {}));
}

std::vector<element> list_in(element object, const char* name) {
  array list;
  if (object[name].get(list) != simdjson::SUCCESS) return {};
  return {list.begin(), list.end()};
}

/// Whether the network's configuration, as it was then, has our plugin in its chain.
bool has_our_plugin(std::string_view config) {
  const auto text = decode_base64(config);
  if (!text) return false;
  simdjson::dom::parser parser;
  element conflist;
  if (parser.parse(simdjson::padded_string(*text)).get(conflist) != simdjson::SUCCESS) return false;
  const auto plugins = list_in(conflist, "plugins");
  return std::any_of(plugins.begin(), plugins.end(),
                     [](element plugin) { return text_in(plugin, "type") == plugin_type; });
}

void add_address(Attachment& a, std::string_view text) {
  if (const auto ip = net::IpAddr::parse(text.substr(0, text.find('/')))) a.addresses.push_back(*ip);
}

/// Addresses of the interface; of an address that names none, too.
void read_result(element result, Attachment& a) {
  const auto interfaces = list_in(result, "interfaces");
  for (const auto interface : interfaces) {
    if (text_in(interface, "sandbox").empty()) a.host_interface = text_in(interface, "name");
  }
  for (const auto ip : list_in(result, "ips")) {
    std::uint64_t index = 0;
    if (ip["interface"].get(index) == simdjson::SUCCESS) {
      if (index >= interfaces.size() || text_in(interfaces[index], "name") != a.key.ifname ||
          text_in(interfaces[index], "sandbox").empty()) {
        continue;
      }
    }
    add_address(a, get_or<std::string_view>(ip, "address", {}));
  }
  for (const char* old : {"ip4", "ip6"}) {  // before 0.3.0
    element ip;
    if (result[old].get(ip) == simdjson::SUCCESS) add_address(a, get_or<std::string_view>(ip, "ip", {}));
  }
}

void read_arguments(element cached, Attachment& a) {
  for (const auto pair : list_in(cached, "cniArgs")) {
    array both;
    std::string_view name;
    std::string_view value;
    if (pair.get(both) != simdjson::SUCCESS || both.at(0).get(name) != simdjson::SUCCESS ||
        both.at(1).get(value) != simdjson::SUCCESS) {
      continue;
    }
    if (name == "K8S_POD_NAMESPACE") a.pod_namespace = value;
    if (name == "K8S_POD_NAME") a.pod_name = value;
    if (name == "K8S_POD_UID") a.pod_uid = value;
  }
}

std::int64_t modified(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return 0;
  return info.st_mtim.tv_sec * std::int64_t{1'000'000'000} + info.st_mtim.tv_nsec;
}

}  // namespace

Result<std::optional<Attachment>> parse_cached_result(std::string_view json) {
  simdjson::dom::parser parser;
  element cached;
  const simdjson::padded_string padded(json);
  if (const auto error = parser.parse(padded).get(cached)) {
    return fail(Errc::invalid, std::string("no JSON: ") + simdjson::error_message(error));
  }
  if (text_in(cached, "kind") != "cniCacheV1") return fail(Errc::invalid, "expected kind cniCacheV1");
  if (!has_our_plugin(get_or<std::string_view>(cached, "config", {}))) return std::optional<Attachment>();
  Attachment a;
  a.key = {text_in(cached, "containerId"), text_in(cached, "ifName")};
  if (auto valid = validate(a.key); !valid) return fail(valid.error());
  a.network = text_in(cached, "networkName");
  a.netns = text_in(cached, "netns");
  read_arguments(cached, a);
  element result;
  if (cached["result"].get(result) == simdjson::SUCCESS) read_result(result, a);
  if (a.addresses.empty()) return fail(Errc::invalid, "no address of " + a.key.ifname);
  return std::optional<Attachment>(std::move(a));
}

CachedResults read_result_cache(const std::string& directory) {
  CachedResults read;
  const auto names = files::names_in(directory);
  if (!names) {
    read.problems.push_back(names.error().what());
    return read;
  }
  std::vector<std::pair<std::int64_t, Attachment>> found;
  for (const auto& name : *names) {
    const auto path = std::string(directory).append("/").append(name);
    const auto text = files::read_small_file(path, longest_file);
    if (!text) {
      if (text.error().code() != Errc::not_found) read.problems.push_back(text.error().what());
      continue;
    }
    auto attachment = parse_cached_result(*text);
    if (!attachment) {
      read.problems.push_back(path + ": " + attachment.error().what());
    } else if (*attachment) {
      found.emplace_back(modified(path), std::move(**attachment));
    }
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  for (auto& [time, attachment] : found) read.attachments.push_back(std::move(attachment));
  return read;
}

}  // namespace podfence::sandbox
