#pragma once
// A directory of manifests as a source of events: every *.yaml, *.yml and *.json below it, watched with inotify. The
// union of all files is the cluster; an object that is in several files comes from the first one by path. What cannot
// be read leaves in force what was good last, also over a restart, and is reported. Driven from outside: when fd() is
// readable (and a moment later, so that bursts come together) call poll().
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "policy/api/decode.h"
#include "policy/base/result.h"
#include "policy/store/cluster.h"

namespace podfence::source {

struct Options {
  api::Limits limits;
  std::string last_good_directory;  // see last_good.h; empty: none
};

struct Batch {
  std::vector<store::Event> events;  // no event for an object that stays as it is
  bool synced = false;               // the whole directory has been read at least once
};

/// A file below the directory, or a directory (the root itself, too) that cannot be read or watched.
struct FileStatus {
  std::string file;
  std::size_t objects = 0;                   // of it that are in force
  std::vector<api::Diagnostic> diagnostics;  // of the last reading; also objects that another file has first
  bool stale = false;                        // what is in force is not what the file holds now
  std::optional<std::chrono::system_clock::time_point> stale_since;

  bool has_errors() const;
};

class DirectorySource {
 public:
  /// The directory may be missing and come later, but it must not be something else.
  static Result<DirectorySource> open(std::string path, Options options = {});
  DirectorySource(DirectorySource&&) noexcept;
  DirectorySource& operator=(DirectorySource&&) noexcept;
  ~DirectorySource();

  int fd() const;

  /// Takes the notifications that wait and reads what they name. Never blocks.
  Batch poll();

  /// Walks the whole directory; files that look the same are not read again. The first call reads everything. When the
  /// directory is not there, everything from it stays in force.
  Batch rescan();

  /// By path.
  const std::vector<FileStatus>& files() const;

 private:
  struct State;
  explicit DirectorySource(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace podfence::source
