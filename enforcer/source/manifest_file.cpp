#include "enforcer/source/manifest_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

namespace podfence::source {
namespace {

FileIdentity identity_from(const struct stat& info) {
  constexpr std::int64_t second = 1'000'000'000;
  return {info.st_dev, info.st_ino, static_cast<std::uint64_t>(info.st_size),
          info.st_mtim.tv_sec * second + info.st_mtim.tv_nsec, info.st_ctim.tv_sec * second + info.st_ctim.tv_nsec};
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

/// A read lease is refused with EAGAIN exactly while the file is open for writing. Where leases are not to be had (some
/// file systems, other owners) nothing is known, and it is read as it is.
bool is_being_written(int fd) {
  ::fcntl(fd, F_SETSIG, SIGURG);  // who opens it for writing meanwhile breaks the lease: a signal that nobody minds
  if (::fcntl(fd, F_SETLEASE, F_RDLCK) == 0) {
    ::fcntl(fd, F_SETLEASE, F_UNLCK);
    return false;
  }
  return errno == EAGAIN;
}

Error io_error(const std::string& what) {
  return {errno == EACCES ? Errc::permission : Errc::io, what + ": " + std::strerror(errno)};
}

Result<std::string> read_all(int fd, std::size_t size, const api::Limits& limits) {
  if (size > limits.bytes) {
    return fail(Errc::limit,
                "is " + std::to_string(size) + " bytes long; at most " + std::to_string(limits.bytes) + " are read");
  }
  std::string bytes(size, '\0');
  std::size_t have = 0;
  while (have < size) {
    const auto length = ::read(fd, bytes.data() + have, size - have);
    if (length < 0 && errno == EINTR) continue;
    if (length < 0) return fail(io_error("read"));
    if (length == 0) break;
    have += static_cast<std::size_t>(length);
  }
  bytes.resize(have);
  return bytes;
}

}  // namespace

std::optional<FileIdentity> identity_of(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return std::nullopt;
  return identity_from(info);
}

Result<ManifestContent> read_manifest(const std::string& path, const api::Limits& limits) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) return fail(io_error("open"));
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return fail(io_error("stat"));
  if (!S_ISREG(info.st_mode)) return fail(Errc::invalid, "is no regular file");
  if (is_being_written(file.get())) return fail(Errc::busy, "is being written");
  const auto bytes = read_all(file.get(), static_cast<std::size_t>(info.st_size), limits);
  if (!bytes) return fail(bytes.error());
  ManifestContent content{identity_from(info), bytes->find_first_not_of(" \t\r\n") == std::string::npos, {}};
  auto decoded = api::decode_file(path, *bytes, limits);
  if (!decoded) return fail(decoded.error());
  content.decoded = std::move(*decoded);
  return content;
}

}  // namespace podfence::source
