#pragma once
// One file of the runtime's configuration directory, as libcni reads it, and the texts that we make of it.
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "enforcer/install/json_text.h"
#include "policy/base/result.h"

namespace podfence::install {

constexpr std::string_view plugin_type = "podfence-cni";

/// How the plugin comes into the chain.
enum class Mode { own, drop_in, in_place };
std::string_view name_of(Mode mode);
std::optional<Mode> parse_mode(std::string_view text);

/// What our entry says of itself, so that it is found again without any state.
struct Mark {
  Mode mode = Mode::own;
  std::string from;  // the file that was the primary's
  friend bool operator==(const Mark&, const Mark&) = default;
};

struct PluginEntry {
  std::string type;
  std::optional<Mark> mark;  // of an entry that this installer made
};

struct ConfFile {
  std::string name;  // in its directory
  std::string bytes;
  bool is_list = false;  // .conflist; else a single plugin
  std::string network;
  std::string cni_version;                // "0.1.0" where there is none, as the specification says
  std::vector<std::string> cni_versions;  // libcni 1.3 takes the highest that it knows
  bool only_inlined = false;              // loadOnlyInlinedPlugins: drop-ins are not read
  std::vector<PluginEntry> plugins;

  bool has_ours() const;
  /// A list that is wholly ours, made in mode own.
  bool is_own() const;
};

/// .conf, .conflist, .json: what a runtime looks at, hidden files too.
bool is_conf_name(std::string_view name);

/// Reads what a runtime would take; errors name the field, not the file.
Result<ConfFile> parse_conf(std::string name, std::string bytes);

/// What the operator chose for our entry; empty or absent = the plugin's own default, and no key is written.
struct EntryOptions {
  std::string socket;
  std::string state_dir;
  std::string log_file;
  std::optional<double> deadline_seconds;
  std::string on_agent_unavailable;
};

/// Our entry as one line of JSON.
std::string entry_text(const EntryOptions& options, const Mark& mark);

/// The primary's list with our entry as the last one, and with no other entry of our type. Every other byte is as it
/// was; the version is never raised. A single plugin becomes a list of it and ours.
std::string chained(const ConfFile& primary, std::string_view entry);

/// The list without the entries that this installer made, byte for byte what it was before.
std::string unchained(const ConfFile& list);

}  // namespace podfence::install
