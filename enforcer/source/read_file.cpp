#include "enforcer/source/read_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <system_error>

#include "enforcer/files/descriptor.h"

namespace podfence::source {
namespace {

using files::Descriptor;

tl::unexpected<Error> refusal(int error) {
  Errc code = Errc::io;
  if (error == ENOENT || error == ENOTDIR || error == ELOOP || error == ENXIO) code = Errc::not_found;
  if (error == EACCES || error == EPERM) code = Errc::permission;
  return fail(code, "cannot be read: " + std::generic_category().message(error));
}

std::int64_t nanoseconds(const timespec& time) {
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

Result<Signature> checked(const struct stat& st) {
  if (!S_ISREG(st.st_mode)) return fail(Errc::not_found, "is no regular file");
  return Signature{st.st_dev, st.st_ino, st.st_size, nanoseconds(st.st_ctim), nanoseconds(st.st_mtim)};
}

/// A read lease is refused while a writer is there. Where leases do not work, nobody is assumed to write. SIGURG, which
/// is ignored by default, is what a writer's open() in between would send us.
bool is_being_written(int fd) {
  ::fcntl(fd, F_SETSIG, SIGURG);
  if (::fcntl(fd, F_SETLEASE, F_RDLCK) == 0) {
    ::fcntl(fd, F_SETLEASE, F_UNLCK);
    return false;
  }
  return errno == EAGAIN;
}

}  // namespace

Result<Signature> signature_of(const std::string& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) return refusal(errno);
  return checked(st);
}

Result<Content> read_file(const std::string& path, std::size_t most_bytes) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (file.get() < 0) return refusal(errno);
  struct stat st {};
  if (::fstat(file.get(), &st) != 0) return refusal(errno);
  const auto signature = checked(st);
  if (!signature) return fail(signature.error());
  if (is_being_written(file.get())) return fail(Errc::busy, "is being written");
  const auto too_large = [&] { return fail(Errc::limit, "is larger than " + std::to_string(most_bytes) + " bytes"); };
  if (static_cast<std::uint64_t>(st.st_size) > most_bytes) return too_large();
  Content out{{}, *signature};
  out.text.resize(static_cast<std::size_t>(st.st_size));
  std::size_t filled = 0;
  while (true) {
    if (filled == out.text.size()) out.text.resize(filled + 4096);  // it may have grown
    const ssize_t got = ::read(file.get(), out.text.data() + filled, out.text.size() - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return refusal(errno);
    if (got == 0) break;
    filled += static_cast<std::size_t>(got);
    if (filled > most_bytes) return too_large();
  }
  out.text.resize(filled);
  return out;
}

}  // namespace podfence::source
