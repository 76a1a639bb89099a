#include "enforcer/source/watcher.h"

#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

namespace podfence::source {
namespace {

constexpr std::uint32_t coming_and_going = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO;
constexpr std::uint32_t self = IN_DELETE_SELF | IN_MOVE_SELF;
constexpr std::uint32_t content = IN_CLOSE_WRITE | IN_MODIFY | IN_ATTRIB;

bool is_link(const std::string& path) {
  struct stat st {};
  return ::lstat(path.c_str(), &st) == 0 && S_ISLNK(st.st_mode);
}

}  // namespace

bool is_hidden(std::string_view name) {
  return name.starts_with('.');
}

bool is_manifest(std::string_view name) {
  return !is_hidden(name) && (name.ends_with(".yaml") || name.ends_with(".yml") || name.ends_with(".json"));
}

Result<Watcher> Watcher::open() {
  const int fd = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (fd < 0) return fail(Errc::io, "inotify: " + std::generic_category().message(errno));
  return Watcher(fd);
}

Watcher::Watcher(Watcher&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      round_(other.round_),
      watches_(std::move(other.watches_)),
      directories_(std::move(other.directories_)) {}

Watcher& Watcher::operator=(Watcher&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(round_, other.round_);
  watches_.swap(other.watches_);
  directories_.swap(other.directories_);
  return *this;
}

Watcher::~Watcher() {
  if (fd_ >= 0) ::close(fd_);
}

Result<Watcher::Watch*> Watcher::add(const std::string& path, std::uint32_t mask) {
  const int descriptor = ::inotify_add_watch(fd_, path.c_str(), mask);
  if (descriptor < 0) {
    return fail(Errc::io, "changes are not noticed: inotify: " + std::generic_category().message(errno));
  }
  Watch& watch = watches_[descriptor];
  if (watch.round != round_) watch = Watch{round_, {}, {}, {}};
  return &watch;
}

Result<> Watcher::watch_directory(const std::string& path) {
  const auto watch = add(path, coming_and_going | self | content | IN_ONLYDIR);
  if (!watch) return fail(watch.error());
  (*watch)->directory = path;
  return {};
}

Result<> Watcher::watch_file(const std::string& path) {
  const auto watch = add(path, self | content);
  if (!watch) return fail(watch.error());
  (*watch)->links.insert(path);
  return {};
}

Result<> Watcher::watch_entry(const std::string& directory, const std::string& name) {
  const auto watch = add(directory, coming_and_going | self | IN_ONLYDIR);
  if (!watch) return fail(watch.error());
  (*watch)->entry = name;
  return {};
}

void Watcher::end() {
  directories_.clear();
  for (auto at = watches_.begin(); at != watches_.end();) {
    if (at->second.round == round_) {
      if (!at->second.directory.empty()) directories_.insert(at->second.directory);
      ++at;
    } else {
      ::inotify_rm_watch(fd_, at->first);
      at = watches_.erase(at);
    }
  }
}

bool Watcher::is_watched(const std::string& directory) const {
  return directories_.contains(directory);
}

void Watcher::take_entry(const Watch& watch, std::uint32_t mask, std::string_view name, Changes& changes) const {
  const std::string path = watch.directory + "/" + std::string(name);
  const bool comes_or_goes = (mask & coming_and_going) != 0;
  if (is_hidden(name)) {
    // Links may lead through it: a ConfigMap is swapped by renaming the link "..data".
    if (comes_or_goes && (is_link(path) || name.starts_with(".."))) changes.everything = true;
    return;
  }
  const bool directory = (mask & IN_ISDIR) != 0;
  if (comes_or_goes && (directory || is_link(path) || is_watched(path))) {
    changes.everything = true;
  } else if (directory) {
    if ((mask & IN_ATTRIB) != 0) changes.everything = true;  // it may be readable now
  } else if (is_manifest(name)) {
    changes.files.insert(path);
  }
}

void Watcher::take(int descriptor, std::uint32_t mask, std::string_view name, Changes& changes) {
  if ((mask & IN_Q_OVERFLOW) != 0) {
    changes.everything = true;
    return;
  }
  const auto at = watches_.find(descriptor);
  if (at == watches_.end()) return;  // of a watch that was dropped
  const Watch& watch = at->second;
  if (!watch.entry.empty() && watch.entry == name) changes.everything = true;
  if (!watch.directory.empty() && !name.empty()) take_entry(watch, mask, name, changes);
  changes.files.insert(watch.links.begin(), watch.links.end());
  if ((mask & (self | IN_UNMOUNT)) != 0) changes.everything = true;
  if ((mask & IN_IGNORED) != 0) watches_.erase(at);
}

Changes Watcher::read() {
  Changes changes;
  alignas(inotify_event) std::array<char, 16384> buffer{};
  while (true) {
    const ssize_t got = ::read(fd_, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return changes;
    const std::string_view bytes(buffer.data(), static_cast<std::size_t>(got));
    for (std::size_t at = 0; at + sizeof(inotify_event) <= bytes.size();) {
      inotify_event event{};
      std::memcpy(&event, bytes.data() + at, sizeof event);
      at += sizeof event;
      std::string_view name = bytes.substr(at, event.len);
      name = name.substr(0, name.find('\0'));  // it is padded
      at += event.len;
      take(event.wd, event.mask, name, changes);
    }
  }
}

}  // namespace podfence::source
