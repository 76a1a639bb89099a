#include "enforcer/install/binary.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <simdjson.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>

namespace podfence::install {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto longest_answer_time = std::chrono::seconds(5);
constexpr std::size_t longest_answer = std::size_t{64} << 10U;
constexpr std::size_t longest_program = std::size_t{256} << 20U;

Result<std::string> read_program(const std::string& path) {
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat info {};
  if (!fd || ::fstat(fd.get(), &info) != 0) return fail(system_error(path));
  if (!S_ISREG(info.st_mode)) return fail(Errc::invalid, path + ": is no regular file");
  if (info.st_size <= 0) return fail(Errc::invalid, path + ": is empty");
  if (static_cast<std::size_t>(info.st_size) > longest_program) return fail(Errc::limit, path + ": is no plugin");
  std::string bytes(static_cast<std::size_t>(info.st_size), '\0');
  for (std::size_t at = 0; at < bytes.size();) {
    const auto length = ::read(fd.get(), bytes.data() + at, bytes.size() - at);
    if (length < 0 && errno == EINTR) continue;
    if (length < 0) return fail(system_error(path));
    if (length == 0) return fail(Errc::busy, path + ": became shorter while it was read");
    at += static_cast<std::size_t>(length);
  }
  return bytes;
}

Result<pid_t> start(const std::string& program, int output) {
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  std::string path = program;
  std::string command = "CNI_COMMAND=VERSION";
  char* arguments[] = {path.data(), nullptr};
  char* environment[] = {command.data(), nullptr};
  pid_t child = 0;
  const int error = ::posix_spawn(&child, program.c_str(), &actions, nullptr, arguments, environment);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return fail(Errc::io, program + ": cannot be executed: " + std::strerror(error));
  return child;
}

/// What comes until the other end is closed, or until the deadline.
Result<std::string> listen(int fd, const std::string& program) {
  const auto deadline = Clock::now() + longest_answer_time;
  std::string answer;
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    struct pollfd waiting {
      fd, POLLIN, 0
    };
    const int ready = left > 0 ? ::poll(&waiting, 1, static_cast<int>(left)) : 0;
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return fail(Errc::unavailable, program + ": does not answer CNI_COMMAND=VERSION");
    char chunk[4096];
    const auto length = ::read(fd, chunk, sizeof(chunk));
    if (length <= 0) return answer;
    answer.append(chunk, static_cast<std::size_t>(length));
    if (answer.size() > longest_answer) return fail(Errc::limit, program + ": answers CNI_COMMAND=VERSION at length");
  }
}

Result<std::vector<std::string>> parse_versions(const std::string& answer) {
  simdjson::dom::parser parser;
  simdjson::dom::array list;
  std::vector<std::string> versions;
  if (parser.parse(answer)["supportedVersions"].get(list) == simdjson::SUCCESS) {
    for (const auto one : list) {
      std::string_view text;
      if (one.get(text) == simdjson::SUCCESS) versions.emplace_back(text);
    }
  }
  if (versions.empty()) return fail(Errc::invalid, "answers CNI_COMMAND=VERSION without supportedVersions");
  return versions;
}

}  // namespace

Result<std::vector<std::string>> ask_versions(const std::string& program) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail(system_error(program));
  const Descriptor ours(ends[0]);
  Descriptor theirs(ends[1]);
  const auto child = start(program, theirs.get());
  if (!child) return fail(child.error());
  theirs = Descriptor();
  auto answer = listen(ours.get(), program);
  if (!answer) ::kill(*child, SIGKILL);
  int status = 0;
  while (::waitpid(*child, &status, 0) < 0 && errno == EINTR) {
  }
  if (!answer) return fail(answer.error());
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    return fail(Errc::refused, program + ": fails CNI_COMMAND=VERSION: " + *answer);
  }
  auto versions = parse_versions(*answer);
  if (!versions) return fail(std::move(versions).error().in(program));
  return versions;
}

bool is_same_file(const std::string& a, const std::string& b) {
  struct stat first {};
  struct stat second {};
  return ::stat(a.c_str(), &first) == 0 && ::stat(b.c_str(), &second) == 0 && first.st_dev == second.st_dev &&
         first.st_ino == second.st_ino;
}

bool is_placed(const std::string& source, const Directory& into, const std::string& name) {
  const auto target = into.file(name);
  if (::access(target.c_str(), X_OK) != 0) return false;
  if (is_same_file(source, target)) return true;
  const auto wanted = read_program(source);
  const auto found = read_program(target);
  return wanted && found && *wanted == *found;
}

Result<Placed> place_binary(const std::string& source, const Directory& into, const std::string& name) {
  constexpr mode_t mode = 0755;
  const auto bytes = read_program(source);
  if (!bytes) return fail(bytes.error());
  const auto target = into.file(name);
  const bool was_there = ::access(target.c_str(), F_OK) == 0;
  if (is_placed(source, into, name)) return Placed::was_there;
  auto temporary = make_temporary(into, name);
  if (!temporary) return fail(temporary.error());
  auto done = write_all(temporary->fd.get(), *bytes, target);
  if (done && ::fchmod(temporary->fd.get(), mode) != 0) done = fail(system_error(target));
  if (done && ::fsync(temporary->fd.get()) != 0) done = fail(system_error(target));
  if (done) {
    // A program that is open for writing cannot be executed: ask through a descriptor that only reads.
    temporary->fd = Descriptor(::openat(into.fd(), temporary->name.c_str(), O_RDONLY | O_CLOEXEC));
    if (const auto versions = ask_versions(into.file(temporary->name)); !versions) done = fail(versions.error());
  }
  if (!done) {
    ::unlinkat(into.fd(), temporary->name.c_str(), 0);
    return fail(done.error());
  }
  if (auto placed = put_in_place(into, *temporary, name); !placed) return fail(placed.error());
  return was_there ? Placed::replaced : Placed::is_new;
}

std::size_t running(const std::string& program) {
  std::size_t found = 0;
  std::error_code ec;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", ec)) {
    const auto name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") == std::string::npos && is_same_file(entry.path() / "exe", program)) {
      ++found;
    }
  }
  return found;
}

}  // namespace podfence::install
