#include "cni/env.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace podfence::cni {
namespace {

constexpr std::size_t longest_ifname = 15;

struct Variable {
  std::string_view name;
  std::string Env::*field;
};

constexpr std::array<Variable, 6> variables_of_env{{{"CNI_COMMAND", &Env::command},
                                                    {"CNI_CONTAINERID", &Env::container_id},
                                                    {"CNI_NETNS", &Env::netns},
                                                    {"CNI_IFNAME", &Env::ifname},
                                                    {"CNI_ARGS", &Env::args},
                                                    {"CNI_NETNS_OVERRIDE", &Env::netns_override}}};

struct Need {
  Command command;
  std::string_view name;
  bool container;  // CNI_CONTAINERID and CNI_IFNAME
  bool netns;
};

constexpr std::array<Need, 6> needs{{{Command::add, "ADD", true, true},
                                     {Command::del, "DEL", true, false},
                                     {Command::check, "CHECK", true, true},
                                     {Command::gc, "GC", false, false},
                                     {Command::status, "STATUS", false, false},
                                     {Command::version, "VERSION", false, false}}};

const Need& need_of(Command command) {
  return *std::find_if(needs.begin(), needs.end(), [&](const Need& need) { return need.command == command; });
}

bool is_alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

Outcome<> check_ifname(const std::string& name) {
  constexpr Code code = Code::invalid_environment;
  if (name.size() > longest_ifname) return refuse(code, "interface name is too long", name);
  if (name == "." || name == "..") return refuse(code, "interface name is . or ..", name);
  const bool bad = std::any_of(name.begin(), name.end(), [](char c) {
    return c == '/' || c == ':' || std::isspace(static_cast<unsigned char>(c)) != 0;
  });
  if (bad) return refuse(code, "interface name contains / or : or whitespace characters", name);
  return {};
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

}  // namespace

Env Env::of(const char* const* variables) {
  Env env;
  for (; variables != nullptr && *variables != nullptr; ++variables) {
    const std::string_view pair = *variables;
    const std::size_t equals = pair.find('=');
    if (equals == std::string_view::npos) continue;
    for (const Variable& variable : variables_of_env) {
      if (variable.name == pair.substr(0, equals)) env.*variable.field = pair.substr(equals + 1);
    }
  }
  return env;
}

Outcome<Command> command_of(const Env& env) {
  const auto found =
      std::find_if(needs.begin(), needs.end(), [&](const Need& need) { return need.name == env.command; });
  if (found == needs.end()) return refuse(Code::invalid_environment, "unknown CNI_COMMAND: " + env.command);
  return found->command;
}

Outcome<> check_present(const Env& env, Command command) {
  const Need& need = need_of(command);
  std::string missing;
  const auto demand = [&](bool needed, std::string_view name, const std::string& value) {
    if (!needed || !value.empty()) return;
    if (!missing.empty()) missing += ',';
    missing += name;
  };
  demand(need.container, "CNI_CONTAINERID", env.container_id);
  demand(need.netns, "CNI_NETNS", env.netns);
  demand(need.container, "CNI_IFNAME", env.ifname);
  if (missing.empty()) return {};
  return refuse(Code::invalid_environment, "required env variables [" + missing + "] missing");
}

Outcome<> check_names(const Env& env, Command command) {
  if (!need_of(command).container) return {};
  if (!is_identifier(env.container_id)) {
    return refuse(Code::invalid_environment, "invalid characters in containerID", env.container_id);
  }
  if (env.container_id.size() > longest_container_id && command != Command::del) {
    return refuse(Code::invalid_environment, "containerID is too long", env.container_id);
  }
  return check_ifname(env.ifname);
}

bool is_identifier(std::string_view text) {
  return !text.empty() && is_alphanumeric(text.front()) && std::all_of(text.begin(), text.end(), [](char c) {
    return is_alphanumeric(c) || c == '_' || c == '.' || c == '-';
  });
}

Outcome<PodArgs> read_args(std::string_view args) {
  PodArgs pod;
  while (!args.empty()) {
    const std::size_t end = std::min(args.find(';'), args.size());
    const std::string_view pair = args.substr(0, end);
    args.remove_prefix(std::min(end + 1, args.size()));
    if (pair.empty()) continue;
    const std::size_t equals = pair.find('=');
    if (equals == std::string_view::npos) {
      return refuse(Code::invalid_environment, "CNI_ARGS: invalid pair", std::string(pair));
    }
    const std::string_view key = pair.substr(0, equals);
    const std::string_view value = pair.substr(equals + 1);
    if (key == "K8S_POD_NAMESPACE") pod.pod_namespace = value;
    if (key == "K8S_POD_NAME") pod.pod_name = value;
    if (key == "K8S_POD_UID") pod.pod_uid = value;
  }
  return pod;
}

bool own_netns_allowed(const Env& env) {
  return env.netns_override == "1" || lower(env.netns_override) == "true";
}

}  // namespace podfence::cni
