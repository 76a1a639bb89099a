#include "enforcer/source/tree_watch.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace podfence::source {

Result<TreeWatch> TreeWatch::open() {
  const int fd = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (fd < 0) return fail(Errc::unavailable, std::string("inotify: ") + std::strerror(errno));
  return TreeWatch(fd);
}

TreeWatch::TreeWatch(TreeWatch&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

TreeWatch& TreeWatch::operator=(TreeWatch&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

TreeWatch::~TreeWatch() {
  if (fd_ >= 0) ::close(fd_);
}

bool TreeWatch::watch(const std::string& directory) {
  // Not IN_MODIFY: a file is looked at when its writer closes it.
  constexpr std::uint32_t mask = IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB |
                                 IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;
  return ::inotify_add_watch(fd_, directory.c_str(), mask) >= 0;
}

bool TreeWatch::drain() {
  alignas(inotify_event) char buffer[16384];
  bool any = false;
  for (;;) {
    const auto length = ::read(fd_, buffer, sizeof(buffer));
    if (length > 0) {
      any = true;
    } else if (length == 0 || errno != EINTR) {
      return any;
    }
  }
}

}  // namespace podfence::source
