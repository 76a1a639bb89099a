#include "enforcer/flow/output.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <tuple>
#include <utility>

#include "enforcer/flow/history.h"

namespace podfence::flow {
namespace {

namespace fs = std::filesystem;

std::string text_of_errno(int error) {
  return std::error_code(error, std::generic_category()).message();
}

tl::unexpected<Error> failed(const std::string& path, std::string_view what, int error) {
  return fail(Errc::io, path + ": " + std::string(what) + ": " + text_of_errno(error));
}

/// The size up to the last newline.
std::uint64_t whole_lines(int fd, std::uint64_t size) {
  std::array<char, 4096> block{};
  while (size > 0) {
    const std::uint64_t from = size - std::min<std::uint64_t>(size, block.size());
    const auto n = ::pread(fd, block.data(), size - from, static_cast<off_t>(from));
    if (n != static_cast<ssize_t>(size - from)) return size;  // cannot be read: leave it
    const std::string_view text(block.data(), static_cast<std::size_t>(n));
    if (const auto newline = text.rfind('\n'); newline != std::string_view::npos) return from + newline + 1;
    size = from;
  }
  return 0;
}

}  // namespace

FileOutput::FileOutput(std::string path, RotateLimits limits) : path_(std::move(path)), limits_(limits) {}

FileOutput::~FileOutput() {
  if (fd_ >= 0) ::close(fd_);
}

Result<std::unique_ptr<FileOutput>> FileOutput::open(std::string path, RotateLimits limits) {
  std::unique_ptr<FileOutput> output(new FileOutput(std::move(path), limits));
  if (auto opened = output->reopen(); !opened) return fail(opened.error());
  return output;
}

Result<> FileOutput::reopen() {
  std::error_code ignored;
  const fs::path directory = fs::path(path_).parent_path();
  if (!directory.empty()) fs::create_directories(directory, ignored);  // if it fails, opening says why
  const int fd = ::open(path_.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0640);
  if (fd < 0) return failed(path_, "open", errno);
  struct stat status {};
  if (::fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(fd);
    return fail(Errc::io, path_ + ": is no regular file");
  }
  auto size = static_cast<std::uint64_t>(status.st_size);
  const std::uint64_t whole = whole_lines(fd, size);
  if (whole < size && ::ftruncate(fd, static_cast<off_t>(whole)) == 0) size = whole;
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
  position_ = {status.st_dev, status.st_ino, size};
  return {};
}

Result<> FileOutput::write(std::string_view line) {
  std::size_t done = 0;
  while (done < line.size()) {
    const auto n = ::write(fd_, line.data() + done, line.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      const int error = n < 0 ? errno : ENOSPC;
      // Half a line must not stay: a later one would be glued to it.
      if (done > 0) std::ignore = ::ftruncate(fd_, static_cast<off_t>(position_.offset));
      return failed(path_, "write", error);
    }
    done += static_cast<std::size_t>(n);
  }
  position_.offset += line.size();
  return {};
}

Result<> FileOutput::rotate(TimePoint now) {
  const std::string target = rotated_path(path_, now);
  std::error_code error;
  fs::create_directories(fs::path(target).parent_path(), error);
  if (error) return failed(target, "create its directory", error.value());
  if (::rename(path_.c_str(), target.c_str()) != 0) return failed(target, "rename", errno);
  return reopen();
}

void FileOutput::prune(const FilePosition& keep) {
  std::uint64_t total = position_.offset;
  std::vector<std::pair<std::string, struct stat>> files;
  for (const std::string& file : rotated_files(path_)) {
    struct stat status {};
    if (::lstat(file.c_str(), &status) != 0) continue;
    total += static_cast<std::uint64_t>(status.st_size);
    files.emplace_back(file, status);
  }
  for (const auto& [file, status] : files) {
    if (total <= limits_.total_bytes || (status.st_dev == keep.device && status.st_ino == keep.inode)) return;
    if (::unlink(file.c_str()) == 0) total -= static_cast<std::uint64_t>(status.st_size);
  }
}

bool FileOutput::moved() const {
  struct stat status {};
  if (::lstat(path_.c_str(), &status) != 0) return true;
  return status.st_dev != position_.device || status.st_ino != position_.inode ||
         static_cast<std::uint64_t>(status.st_size) != position_.offset;
}

/// A description of its own, so that nobody else who holds the same pipe becomes non-blocking.
StdoutOutput::StdoutOutput()
    : fd_(::open("/proc/self/fd/1", O_WRONLY | O_APPEND | O_CLOEXEC | O_NONBLOCK)), own_(fd_ >= 0) {
  if (!own_) fd_ = STDOUT_FILENO;
}

StdoutOutput::~StdoutOutput() {
  if (own_) ::close(fd_);
}

/// Writes as much as goes and removes it from `bytes`.
Result<> StdoutOutput::push(std::string& bytes) {
  std::size_t done = 0;
  int error = 0;
  while (done < bytes.size() && error == 0) {
    pollfd ready{fd_, POLLOUT, 0};
    if (::poll(&ready, 1, 0) == 0) {
      error = EAGAIN;
      break;
    }
    const auto n = ::write(fd_, bytes.data() + done, bytes.size() - done);
    if (n > 0) done += static_cast<std::size_t>(n);
    if (n < 0 && errno != EINTR) error = errno;
  }
  bytes.erase(0, done);
  if (error != 0) return failed("standard output", "write", error);
  return {};
}

Result<> StdoutOutput::write(std::string_view line) {
  // What is left of the line before; that one counts as written since its first byte went out.
  if (auto pushed = push(rest_); !pushed) return pushed;
  std::string bytes(line);
  auto pushed = push(bytes);
  if (pushed || bytes.size() == line.size()) return pushed;
  rest_ = std::move(bytes);
  return {};
}

}  // namespace podfence::flow
