#pragma once
// The plugin's configuration: what the runtime writes to standard input. Keys that are not ours are left alone.
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cni/errors.h"

namespace podfence::cni {

/// Sorted by age. VERSION prints them, every other command compares with them, exactly.
const std::vector<std::string>& supported_versions();

/// Of supported versions only: is `version` this one or a later one?
bool version_at_least(std::string_view version, std::string_view first);

enum class WhenUnavailable { wait, deny };

struct Attachment {
  std::string container_id;
  std::string ifname;
  friend bool operator==(const Attachment&, const Attachment&) = default;
};

struct Config {
  std::string cni_version;  // "0.1.0" where the text has none
  std::string network;
  std::string socket = "/run/podfence/agent.sock";
  std::chrono::milliseconds deadline{10'000};
  WhenUnavailable on_agent_unavailable = WhenUnavailable::wait;
  std::string state_dir = "/var/lib/podfence";
  std::string log_file;                    // empty: none
  std::optional<std::string> prev_result;  // the text, byte for byte; null counts as none
  /// GC: nothing when the runtime gave no list; null and [] are lists, on which nothing is.
  std::optional<std::vector<Attachment>> valid_attachments;
};

/// Code 6 when the text is no JSON object, 1 for a version that we do not speak, 7 for anything else.
Outcome<Config> read_config(std::string_view text);

}  // namespace podfence::cni
