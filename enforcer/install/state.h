#pragma once
// What the installer remembers, and what others may read: STATE_DIR/cni-install.json. All that an uninstallation needs
// can be found without it; with it, it is proven.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "enforcer/install/conf_file.h"
#include "policy/base/result.h"

namespace podfence::install {

/// installed: the runtime has it, or was not asked. waiting: no network, no agent. degraded: it is on disk, and the
/// problem says what is wrong. removed: uninstalled.
enum class Condition { installed, waiting, degraded, removed };
std::string_view name_of(Condition condition);

struct State {
  Condition condition = Condition::waiting;
  std::string problem;
  Mode mode = Mode::own;
  std::string conf_dir;
  std::string file;      // in it, or below it
  std::string file_sum;  // of what was written there
  std::string primary;   // the file's name that it was made from
  std::string network;
  std::string original_file;  // whose bytes the backup holds; empty: no backup
  std::string original_sum;   // of the backup
  std::string binary;
  bool binary_is_ours = false;  // copied there by this installer
  std::string version;
  std::string verified;       // "loaded", "not asked: ...", "not loaded: ..."
  std::uint64_t repairs = 0;  // what somebody had changed or taken away, put right
  std::uint64_t updates = 0;  // the network's own configuration changed, ours followed
  std::string last_repair;    // time and file
  std::string updated;        // time of the last change of this file
};

std::string json_of(const State& state);
Result<State> parse_state(std::string_view json);

/// Not the place for a secret, only for telling a file that was damaged from one that was not.
std::string checksum(std::string_view bytes);

class StateFiles {
 public:
  explicit StateFiles(std::string state_dir) : directory_(std::move(state_dir)) {}

  /// An empty state when there is none; one that cannot be read is reported in `problem` and counts as none.
  State load() const;
  Result<> save(const State& state) const;

  /// The bytes of the primary's file before it was edited.
  Result<> save_original(std::string_view bytes) const;
  Result<std::string> load_original(const State& state) const;
  Result<> remove_original() const;

  std::string path() const;

 private:
  std::string directory_;
};

}  // namespace podfence::install
