#include "enforcer/install/directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <memory>
#include <thread>

namespace podfence::install {
namespace {

constexpr std::string_view temporary_prefix = ".podfence-";
constexpr std::string_view temporary_suffix = ".tmp";  // nothing that a runtime reads
constexpr std::size_t longest_file = std::size_t{1} << 20U;
constexpr const char* security_label = "security.selinux";

struct CloseDirectory {
  void operator()(DIR* dir) const { ::closedir(dir); }
};

Result<std::vector<std::string>> entries(const Directory& in, bool directories) {
  const int again = ::openat(in.fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);  // its own position
  if (again < 0) return fail(system_error(in.path()));
  const std::unique_ptr<DIR, CloseDirectory> dir(::fdopendir(again));
  if (!dir) return fail(system_error(in.path()));
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(dir.get())) {
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    struct stat info {};
    if (::fstatat(in.fd(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) continue;  // gone meanwhile
    if (S_ISDIR(info.st_mode) == directories) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

/// Mode, owner and label of the file that `temporary` is about to replace.
Result<> take_over(const Directory& in, const Temporary& temporary, const std::string& target, mode_t new_mode) {
  struct stat info {};
  const bool replaces = ::fstatat(in.fd(), target.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(info.st_mode);
  const auto path = in.file(temporary.name);
  if (replaces && ::fchown(temporary.fd.get(), info.st_uid, info.st_gid) != 0) return fail(system_error(path));
  const mode_t mode = replaces ? info.st_mode & 07777U : new_mode;
  if (::fchmod(temporary.fd.get(), mode) != 0) return fail(system_error(path));
  if (!replaces) return {};
  char label[256];
  const auto length = ::lgetxattr(in.file(target).c_str(), security_label, label, sizeof(label));
  // A file system without labels has none to take over.
  if (length > 0) {
    ::fsetxattr(temporary.fd.get(), security_label, label, static_cast<std::size_t>(length), 0);
  }
  return {};
}

}  // namespace

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

Descriptor::~Descriptor() {
  if (fd_ >= 0) ::close(fd_);
}

Error system_error(const std::string& path) {
  const auto code = errno == ENOENT ? Errc::not_found : errno == EACCES || errno == EPERM ? Errc::permission : Errc::io;
  return Error(code, path + ": " + std::strerror(errno));
}

Result<Directory> Directory::open(const std::string& path) {
  Descriptor fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fail(system_error(path));
  return Directory(path, std::move(fd));
}

Result<Descriptor> Directory::lock(std::chrono::milliseconds deadline) const {
  constexpr std::chrono::milliseconds step{20};
  Descriptor held(::openat(fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!held) return fail(system_error(path_));
  for (std::chrono::milliseconds waited{0};; waited += step) {
    if (::flock(held.get(), LOCK_EX | LOCK_NB) == 0) return held;
    if (errno != EWOULDBLOCK && errno != EINTR) return fail(system_error(path_ + ": lock"));
    if (waited >= deadline) return fail(Errc::busy, path_ + ": another installer is at work here");
    std::this_thread::sleep_for(step);
  }
}

Result<std::vector<std::string>> Directory::files() const {
  return entries(*this, false);
}

Result<std::vector<std::string>> Directory::directories() const {
  return entries(*this, true);
}

Result<Directory::Read> Directory::read(const std::string& name) const {
  struct stat info {};
  if (::fstatat(fd(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return fail(system_error(file(name)));
  Read read;
  read.is_link = S_ISLNK(info.st_mode);
  const Descriptor opened(::openat(fd(), name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!opened || ::fstat(opened.get(), &info) != 0) return fail(system_error(file(name)));
  if (!S_ISREG(info.st_mode)) return fail(Errc::invalid, file(name) + ": is no regular file");
  struct timespec now {};
  ::clock_gettime(CLOCK_REALTIME, &now);
  constexpr double nanosecond = 1e-9;
  read.age_seconds = static_cast<double>(now.tv_sec - info.st_mtim.tv_sec) +
                     static_cast<double>(now.tv_nsec - info.st_mtim.tv_nsec) * nanosecond;
  char chunk[16384];
  for (;;) {
    const auto length = ::read(opened.get(), chunk, sizeof(chunk));
    if (length < 0 && errno == EINTR) continue;
    if (length < 0) return fail(system_error(file(name)));
    if (length == 0) return read;
    read.bytes.append(chunk, static_cast<std::size_t>(length));
    if (read.bytes.size() > longest_file) return fail(Errc::limit, file(name) + ": is longer than 1 MiB");
  }
}

Result<> Directory::write(const std::string& name, std::string_view bytes, mode_t new_mode,
                          const std::string* expected) const {
  auto temporary = make_temporary(*this, name);
  if (!temporary) return fail(temporary.error());
  auto done = write_all(temporary->fd.get(), bytes, file(name)).and_then([&] {
    return take_over(*this, *temporary, name, new_mode);
  });
  if (done && ::fsync(temporary->fd.get()) != 0) done = fail(system_error(file(name)));
  if (done && expected != nullptr) {
    const auto now = read(name);
    if (!now || now->bytes != *expected) done = fail(Errc::busy, file(name) + ": somebody else writes it just now");
  }
  if (!done) {
    ::unlinkat(fd(), temporary->name.c_str(), 0);
    return done;
  }
  return put_in_place(*this, *temporary, name);
}

Result<> Directory::remove(const std::string& name) const {
  if (::unlinkat(fd(), name.c_str(), 0) != 0 && errno != ENOENT) return fail(system_error(file(name)));
  if (::fsync(fd()) != 0) return fail(system_error(path_));
  return {};
}

Result<> Directory::nudge() const {
  auto temporary = make_temporary(*this, "nudge");
  if (!temporary) return fail(temporary.error());
  auto written = write_all(temporary->fd.get(), "look again\n", file(temporary->name));
  ::unlinkat(fd(), temporary->name.c_str(), 0);
  return written;
}

void Directory::remove_leftovers() const {
  const auto names = files();
  if (!names) return;
  for (const auto& name : *names) {
    if (is_temporary(name)) ::unlinkat(fd(), name.c_str(), 0);
  }
}

bool is_temporary(std::string_view name) {
  return name.size() > temporary_prefix.size() + temporary_suffix.size() &&
         name.substr(0, temporary_prefix.size()) == temporary_prefix &&
         name.substr(name.size() - temporary_suffix.size()) == temporary_suffix;
}

Result<Temporary> make_temporary(const Directory& in, const std::string& target) {
  Temporary temporary;
  temporary.name = std::string(temporary_prefix) + target + std::string(temporary_suffix);
  ::unlinkat(in.fd(), temporary.name.c_str(), 0);  // of one that was killed
  temporary.fd = Descriptor(::openat(in.fd(), temporary.name.c_str(),
                                     O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR));
  if (!temporary.fd) return fail(system_error(in.file(target)));
  return temporary;
}

Result<> write_all(int fd, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const auto written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail(system_error(path));
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

Result<> put_in_place(const Directory& in, const Temporary& temporary, const std::string& target) {
  if (::renameat(in.fd(), temporary.name.c_str(), in.fd(), target.c_str()) != 0) {
    auto error = system_error(in.file(target));
    ::unlinkat(in.fd(), temporary.name.c_str(), 0);
    return fail(std::move(error));
  }
  if (::fsync(in.fd()) != 0) return fail(system_error(in.path()));
  return {};
}

}  // namespace podfence::install
