#include "enforcer/files/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>

#include "enforcer/files/descriptor.h"

namespace podfence::files {
namespace {

Error system_error(const std::string& path) {
  const auto code = errno == ENOENT ? Errc::not_found : errno == EACCES || errno == EPERM ? Errc::permission : Errc::io;
  return Error(code, path + ": " + std::strerror(errno));
}

struct CloseDirectory {
  void operator()(DIR* dir) const { ::closedir(dir); }
};

Result<> write_all(int fd, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    const auto written = ::write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return fail(system_error(path));
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

Result<> sync_to_disk(int fd, Sync sync, const std::string& path) {
  if (sync == Sync::to_disk && ::fsync(fd) != 0) return fail(system_error(path));
  return {};
}

}  // namespace

Result<> make_directory(const std::string& path) {
  std::error_code ec;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), ec);
  if (::mkdir(path.c_str(), S_IRWXU) != 0 && errno != EEXIST) return fail(system_error(path));
  return {};
}

Result<std::vector<std::string>> names_in(const std::string& directory) {
  const std::unique_ptr<DIR, CloseDirectory> dir(::opendir(directory.c_str()));
  if (!dir) {
    if (errno == ENOENT) return std::vector<std::string>();
    return fail(system_error(directory));
  }
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(dir.get())) {
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

Result<std::string> read_small_file(const std::string& path, std::size_t most_bytes, Links links) {
  const int follow = links == Links::followed ? 0 : O_NOFOLLOW;
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | follow));
  if (fd.get() < 0) return fail(system_error(path));
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return fail(system_error(path));
  if (!S_ISREG(info.st_mode)) return fail(Errc::invalid, path + ": is no regular file");
  std::string text;
  char chunk[8192];
  for (;;) {
    const auto length = ::read(fd.get(), chunk, sizeof(chunk));
    if (length < 0 && errno == EINTR) continue;
    if (length < 0) return fail(system_error(path));
    if (length == 0) return text;
    text.append(chunk, static_cast<std::size_t>(length));
    if (text.size() > most_bytes) return fail(Errc::limit, path + ": is longer than " + std::to_string(most_bytes));
  }
}

Result<> write_file(const std::string& directory, const std::string& name, std::string_view text, Sync sync) {
  const auto path = directory + "/" + name;
  const auto temporary = directory + "/.tmp-" + name;
  {
    const Descriptor fd(
        ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR));
    if (fd.get() < 0) return fail(system_error(temporary));
    auto written = write_all(fd.get(), text, temporary);
    if (written) written = sync_to_disk(fd.get(), sync, temporary);
    if (!written) {
      ::unlink(temporary.c_str());
      return written;
    }
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    auto error = system_error(path);
    ::unlink(temporary.c_str());
    return fail(std::move(error));
  }
  if (sync == Sync::none) return {};
  const Descriptor fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return fd.get() < 0 ? Result<>(fail(system_error(directory))) : sync_to_disk(fd.get(), sync, directory);
}

Result<> remove_file(const std::string& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return fail(system_error(path));
  return {};
}

bool exists(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0;
}

}  // namespace podfence::files
