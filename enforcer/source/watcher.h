#pragma once
// inotify: directories that are watched for their entries, files that are watched by themselves, and directories on the
// way to the root that are watched for one entry.
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "policy/base/result.h"

namespace podfence::source {

/// What the notifications that waited ask for.
struct Changes {
  bool everything = false;      // the tree is not what it was, or notifications were lost
  std::set<std::string> files;  // that may have changed, come or gone
};

class Watcher {
 public:
  static Result<Watcher> open();
  Watcher(Watcher&& other) noexcept;
  Watcher& operator=(Watcher&& other) noexcept;
  ~Watcher();

  int fd() const { return fd_; }

  /// Between begin() and end() the whole set is named anew; end() drops what was not named.
  void begin() { ++round_; }
  Result<> watch_directory(const std::string& path);
  Result<> watch_file(const std::string& path);  // the file that a link leads to
  Result<> watch_entry(const std::string& directory, const std::string& name);
  void end();

  /// Everything that waits. Never blocks.
  Changes read();

 private:
  struct Watch {
    std::uint64_t round = 0;
    std::string directory;        // for all its entries
    std::string entry;            // for this entry only
    std::set<std::string> links;  // paths that lead to the watched file
  };

  explicit Watcher(int fd) : fd_(fd) {}
  Result<Watch*> add(const std::string& path, std::uint32_t mask);
  void take(int descriptor, std::uint32_t mask, std::string_view name, Changes& changes);
  void take_entry(const Watch& watch, std::uint32_t mask, std::string_view name, Changes& changes) const;
  bool is_watched(const std::string& directory) const;

  int fd_ = -1;
  std::uint64_t round_ = 0;
  std::unordered_map<int, Watch> watches_;
  std::set<std::string> directories_;
};

/// Whether the name is that of a manifest: not hidden, and *.yaml, *.yml or *.json.
bool is_manifest(std::string_view name);
bool is_hidden(std::string_view name);

}  // namespace podfence::source
