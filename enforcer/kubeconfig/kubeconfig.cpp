// kubeconfig files: YAML or JSON, merged as kubectl does.
#include <algorithm>
#include <map>

#include "enforcer/files/files.h"
#include "enforcer/kubeconfig/client_config.h"
#include "policy/api/value.h"
#include "policy/api/yaml_reader.h"
#include "policy/base/base64.h"

namespace podfence::kubeconfig {
namespace {

using api::Value;

constexpr api::Limits limits{.bytes = std::size_t{1} << 20U, .depth = 64, .nodes = 100'000};

/// One named entry of a file: its fields as texts.
struct Entry {
  std::string file;
  std::map<std::string, std::string> texts;
  std::map<std::string, bool> flags;
  std::vector<std::string> others;  // names of fields of another type that are given

  std::string text(const std::string& name) const {
    const auto at = texts.find(name);
    return at == texts.end() ? "" : at->second;
  }
  bool has(const std::string& name) const { return std::find(others.begin(), others.end(), name) != others.end(); }
};

using Entries = std::map<std::string, Entry>;

struct Merged {
  Entries clusters;
  Entries users;
  Entries contexts;
  std::string current_context;
};

Entry entry_of(const std::string& file, const Value& value) {
  Entry entry;
  entry.file = file;
  value.each_field([&](std::string_view name, const Value& field) {
    if (field.is_string()) {
      entry.texts.emplace(name, field.string());
    } else if (field.is_bool()) {
      entry.flags.emplace(name, field.boolean());
    } else if (field.given()) {
      entry.others.emplace_back(name);
    }
  });
  return entry;
}

/// [{name: N, <what>: {...}}, ...]; what is there already stays.
Result<> merge(const std::string& file, const Value& root, std::string_view list, std::string_view what,
               Entries& into) {
  const Value all = root.get(list);
  if (all.given() && !all.is_array()) return fail(Errc::invalid, file + ": " + std::string(list) + " is no list");
  Result<> result;
  all.each_item([&](const Value& item) {
    const Value name = item.get("name");
    const Value body = item.get(what);
    if (!name.is_string()) {
      result = fail(Errc::invalid, file + ": " + item.path() + ": expected a name");
      return;
    }
    into.emplace(name.string(), entry_of(file, body));
  });
  return result;
}

Result<> read_into(const std::string& file, const std::string& text, Merged& merged) {
  api::YamlReader reader(text, limits);
  api::YamlDocument document;
  const auto more = reader.next(document);
  if (!more) return fail(Error(more.error()).in(file));
  if (!*more) return {};
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  if (const auto code = parser.parse(document.json).get(root); code != simdjson::SUCCESS) {
    return fail(Errc::invalid, file + ": " + simdjson::error_message(code));
  }
  const Value value(root, document.lines);
  if (value.given() && !value.is_object()) return fail(Errc::invalid, file + ": is no map");
  const Value current = value.get("current-context");
  if (merged.current_context.empty() && current.is_string()) merged.current_context = current.string();
  if (auto done = merge(file, value, "clusters", "cluster", merged.clusters); !done) return done;
  if (auto done = merge(file, value, "users", "user", merged.users); !done) return done;
  return merge(file, value, "contexts", "context", merged.contexts);
}

std::string beside(const std::string& file, const std::string& path) {
  if (path.empty() || path.front() == '/') return path;
  const auto slash = file.rfind('/');
  return slash == std::string::npos ? path : file.substr(0, slash + 1) + path;
}

/// `name`-data counts before `name`, a file beside the kubeconfig.
Result<Material> material(const Entry& entry, const std::string& place, const std::string& name) {
  Material material;
  if (const auto data = entry.text(name + "-data"); !data.empty()) {
    auto decoded = decode_base64(data);
    if (!decoded) return fail(decoded.error().code(), place + name + "-data: " + decoded.error().what());
    material.data = std::move(*decoded);
  } else {
    material.file = beside(entry.file, entry.text(name));
  }
  return material;
}

Result<> take_cluster(const Entry& entry, const std::string& place, ClientConfig& config) {
  if (auto server = parse_server(entry.text("server"), config); !server) {
    return fail(Error(server.error()).in(place.substr(0, place.size() - 2)));
  }
  auto ca = material(entry, place, "certificate-authority");
  if (!ca) return fail(ca.error());
  config.ca = std::move(*ca);
  const auto insecure = entry.flags.find("insecure-skip-tls-verify");
  config.insecure = insecure != entry.flags.end() && insecure->second;
  if (config.insecure && config.ca.given()) {
    return fail(Errc::invalid, place + "insecure-skip-tls-verify: excludes a certificate-authority");
  }
  if (const auto name = entry.text("tls-server-name"); !name.empty()) config.server_name = name;
  if (const auto url = entry.text("proxy-url"); !url.empty()) {
    auto proxy = parse_proxy(url);
    if (!proxy) return fail(std::move(proxy.error()).in(place + "proxy-url"));
    config.proxy = std::move(*proxy);
  }
  return {};
}

Result<> take_user(const Entry& entry, const std::string& place, ClientConfig& config) {
  for (const char* name : {"exec", "auth-provider"}) {
    if (!entry.has(name)) continue;
    return fail(Errc::invalid, place + name +
                                   ": the agent runs no credential plugins: expected a token, a tokenFile or "
                                   "a client certificate");
  }
  auto certificate = material(entry, place, "client-certificate");
  if (!certificate) return fail(certificate.error());
  auto key = material(entry, place, "client-key");
  if (!key) return fail(key.error());
  if (certificate->given() != key->given()) {
    return fail(Errc::invalid, place + "client-certificate: needs a client-key, and the other way round");
  }
  config.certificate = std::move(*certificate);
  config.key = std::move(*key);
  config.token.data = entry.text("token");
  config.token.file = beside(entry.file, entry.text("tokenFile"));
  config.user = entry.text("username");
  config.password = entry.text("password");
  if (config.token.given() && !config.user.empty()) {
    return fail(Errc::invalid, place + "more than one way to authenticate: expected a token or a username");
  }
  return {};
}

Result<const Entry*> find(const Entries& entries, const std::string& name, const std::string& what,
                          const std::string& files) {
  const auto at = entries.find(name);
  if (at == entries.end()) return fail(Errc::not_found, files + ": " + what + " '" + name + "' is not there");
  return &at->second;
}

}  // namespace

Result<ClientConfig> from_files(const std::vector<std::string>& files, const std::string& context) {
  Merged merged;
  std::string names;
  bool any = false;
  for (const auto& file : files) {
    names += (names.empty() ? "" : ":") + file;
    const auto text = files::read_small_file(file, limits.bytes, files::Links::followed);
    if (!text && text.error().code() == Errc::not_found) continue;
    if (!text) return fail(text.error());
    any = true;
    if (auto done = read_into(file, *text, merged); !done) return fail(done.error());
  }
  if (!any) return fail(Errc::not_found, names + ": no such file");
  const auto name = context.empty() ? merged.current_context : context;
  if (name.empty()) return fail(Errc::invalid, names + ": current-context: is not set: expected --context");
  const auto chosen = find(merged.contexts, name, "context", names);
  if (!chosen) return fail(chosen.error());
  const auto cluster_name = (*chosen)->text("cluster");
  const auto user_name = (*chosen)->text("user");
  const auto cluster = find(merged.clusters, cluster_name, "cluster", names);
  if (!cluster) return fail(cluster.error());
  ClientConfig config;
  config.origin = "context '" + name + "' of " + (*chosen)->file;
  const auto place = [](const Entry& entry, const char* what, const std::string& of) {
    return entry.file + ": " + what + " '" + of + "': ";
  };
  if (auto done = take_cluster(**cluster, place(**cluster, "cluster", cluster_name), config); !done) {
    return fail(done.error());
  }
  if (user_name.empty()) return config;
  const auto user = find(merged.users, user_name, "user", names);
  if (!user) return fail(user.error());
  if (auto done = take_user(**user, place(**user, "user", user_name), config); !done) return fail(done.error());
  return config;
}

}  // namespace podfence::kubeconfig
