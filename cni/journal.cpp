#include "cni/journal.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "cni/descriptor.h"

namespace podfence::cni {
namespace {

constexpr std::size_t longest_entry = 64 * 1024;

std::string directory_of(const std::string& state_dir) {
  return state_dir + "/cni-journal";
}

tl::unexpected<Error> failed(const std::string& path) {
  return fail(Errc::io, path + ": " + std::strerror(errno));
}

Result<void> make_directories(const std::string& path) {
  for (std::size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const std::string part = path.substr(0, end);
    if (::mkdir(part.c_str(), 0700) != 0 && errno != EEXIST) return failed(part);
    if (end == std::string::npos) return {};
  }
}

Result<void> write_file(const std::string& path, std::string_view text) {
  const Descriptor fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return failed(path);
  while (!text.empty()) {
    const ssize_t n = ::write(fd.get(), text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed(path);
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  if (::fsync(fd.get()) != 0) return failed(path);
  return {};
}

Result<void> sync_directory(const std::string& path) {
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || ::fsync(fd.get()) != 0) return failed(path);
  return {};
}

}  // namespace

Result<void> write_to_journal(const std::string& state_dir, const std::string& entry, std::string_view line) {
  const std::string directory = directory_of(state_dir);
  if (auto made = make_directories(directory); !made) return made;
  // No attachment's id starts with a dot. The process's number keeps two commands for one attachment apart.
  const std::string temporary = directory + "/.tmp-" + std::to_string(::getpid());
  const std::string path = directory + '/' + entry;
  auto written = write_file(temporary, std::string(line) + '\n');
  if (written && ::rename(temporary.c_str(), path.c_str()) != 0) written = failed(path);
  if (!written) {
    ::unlink(temporary.c_str());
    return written;
  }
  return sync_directory(directory);
}

std::optional<std::string> read_from_journal(const std::string& state_dir, const std::string& entry) {
  const std::string path = directory_of(state_dir) + '/' + entry;
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd) return std::nullopt;
  std::string text;
  std::array<char, 4096> buffer;
  while (text.size() < longest_entry) {
    const ssize_t n = ::read(fd.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(n));
  }
  return text;
}

void erase_from_journal(const std::string& state_dir, const std::string& entry) {
  ::unlink((directory_of(state_dir) + '/' + entry).c_str());
}

}  // namespace podfence::cni
