#include "enforcer/source/walk.h"

#include <dirent.h>
#include <sys/stat.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

namespace podfence::source {
namespace {

constexpr int deepest = 32;

using Identity = std::pair<std::uint64_t, std::uint64_t>;  // device, inode

std::optional<struct stat> stat_of(const std::string& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) return std::nullopt;
  return st;
}

bool is_link(const std::string& path) {
  struct stat st {};
  return ::lstat(path.c_str(), &st) == 0 && S_ISLNK(st.st_mode);
}

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

class Walker {
 public:
  explicit Walker(Watcher& watcher) : watcher_(watcher) {}

  Walk run(const std::string& root) {
    watcher_.begin();
    watch_way_to(root);
    const auto st = stat_of(root);
    if (st && S_ISDIR(st->st_mode)) {
      out_.root_found = true;
      directory(root, {st->st_dev, st->st_ino}, 0);
      if (out_.unreadable.contains(root)) out_.root_found = false;
    }
    watcher_.end();
    return std::move(out_);
  }

 private:
  /// Every directory on the way, for the next step of it: the root may be replaced, or come later.
  void watch_way_to(const std::string& root) {
    std::size_t from = 0;
    while (true) {
      const auto start = root.find_first_not_of('/', from);
      if (start == std::string::npos) return;
      const auto end = std::min(root.find('/', start), root.size());
      const std::string above = start == 0 ? "." : root.substr(0, start);
      if (const auto st = stat_of(above)) visited_.insert({st->st_dev, st->st_ino});
      // A step that is not there (yet) or that we may not read is no fault: the one above it is watched.
      static_cast<void>(watcher_.watch_entry(above, root.substr(start, end - start)));
      from = end;
    }
  }

  void directory(const std::string& path, Identity identity, int depth) {
    if (!visited_.insert(identity).second) return;
    if (depth > deepest) {
      out_.unreadable.emplace(path, "is nested too deep");
      return;
    }
    if (const auto watched = watcher_.watch_directory(path); !watched) {
      out_.unwatched.emplace(path, watched.error().what());
    }
    const std::unique_ptr<DIR, CloseDirectory> open(::opendir(path.c_str()));
    if (!open) {
      if (errno != ENOENT) out_.unreadable.emplace(path, "cannot be read: " + std::generic_category().message(errno));
      return;
    }
    std::set<std::string> names;  // in order: of two ways to a directory the first one counts
    while (const dirent* entry = ::readdir(open.get())) names.insert(entry->d_name);
    for (const auto& name : names) {
      if (!is_hidden(name)) this->entry(path, name, depth);
    }
  }

  void entry(const std::string& directory_path, const std::string& name, int depth) {
    const std::string path = directory_path + "/" + name;
    const auto st = stat_of(path);
    if (!st) {
      // A link that leads nowhere, or where we may not look: the reader says which.
      if (is_manifest(name) && is_link(path)) out_.files.insert(path);
      return;
    }
    if (S_ISDIR(st->st_mode)) return directory(path, {st->st_dev, st->st_ino}, depth + 1);
    if (!S_ISREG(st->st_mode) || !is_manifest(name)) return;
    out_.files.insert(path);
    if (!is_link(path)) return;
    if (const auto watched = watcher_.watch_file(path); !watched) out_.unwatched.emplace(path, watched.error().what());
  }

  Watcher& watcher_;
  Walk out_;
  std::set<Identity> visited_;
};

}  // namespace

Walk walk(const std::string& root, Watcher& watcher) {
  return Walker(watcher).run(root);
}

}  // namespace podfence::source
