#pragma once
// The CNI_ variables of the process, and what the specification demands of them. A variable that is empty counts as
// missing. CNI_PATH is never needed: this plugin executes no other.
#include <string>
#include <string_view>

#include "cni/errors.h"

namespace podfence::cni {

enum class Command { add, del, check, gc, status, version };

struct Env {
  std::string command;
  std::string container_id;
  std::string netns;
  std::string ifname;
  std::string args;
  std::string netns_override;

  /// From "NAME=value" texts, as the process gets them; ends at a null pointer.
  static Env of(const char* const* variables);
};

/// Code 4 for a command that the specification does not have.
Outcome<Command> command_of(const Env& env);

/// Code 4 with the names of all variables that `command` needs and that are missing.
Outcome<> check_present(const Env& env, Command command);

/// With the interface name it becomes the name of a file; no longer one ever passed ADD.
inline constexpr std::size_t longest_container_id = 200;

/// Code 4 when the container id or the interface name has characters that it must not have.
Outcome<> check_names(const Env& env, Command command);

/// Letters, digits, '_', '.', '-', the first one a letter or digit: container ids and network names.
bool is_identifier(std::string_view text);

/// What runtimes say about the pod in CNI_ARGS; empty where they do not.
struct PodArgs {
  std::string pod_namespace;
  std::string pod_name;
  std::string pod_uid;
};

/// "K=V;K=V". Keys that are not ours are left alone, with or without IgnoreUnknown; a pair without '=' is code 4.
Outcome<PodArgs> read_args(std::string_view args);

/// CNI_NETNS_OVERRIDE allows a container in the runtime's own network namespace.
bool own_netns_allowed(const Env& env);

}  // namespace podfence::cni
