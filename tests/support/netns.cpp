#include "tests/support/netns.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>

namespace podfence::test {
namespace {

void write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
}

std::string read_all(int fd) {
  std::string text;
  std::array<char, 4096> buffer{};
  for (;;) {
    const ssize_t n = ::read(fd, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return text;
    text.append(buffer.data(), static_cast<std::size_t>(n));
  }
}

bool write_file(const char* path, const std::string& text) {
  const int fd = ::open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool written = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  ::close(fd);
  return written;
}

bool raise_loopback() {
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  const bool up = ::ioctl(fd, SIOCSIFFLAGS, &request) == 0;
  ::close(fd);
  return up;
}

/// What went wrong, or nothing.
std::string enter_namespaces() {
  if (::geteuid() != 0 || ::unshare(CLONE_NEWNET) != 0) {
    const std::string uid = std::to_string(::geteuid());
    const std::string gid = std::to_string(::getegid());
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) return std::string("unshare: ") + std::strerror(errno);
    if (!write_file("/proc/self/setgroups", "deny")) return "cannot write /proc/self/setgroups";
    if (!write_file("/proc/self/uid_map", "0 " + uid + " 1")) return "cannot write /proc/self/uid_map";
    if (!write_file("/proc/self/gid_map", "0 " + gid + " 1")) return "cannot write /proc/self/gid_map";
  }
  if (!raise_loopback()) return std::string("cannot raise the loopback device: ") + std::strerror(errno);
  return {};
}

/// Sends the text of every failed assertion to the parent.
class FailureReporter : public ::testing::EmptyTestEventListener {
 public:
  explicit FailureReporter(int fd) : fd_(fd) {}

  void OnTestPartResult(const ::testing::TestPartResult& part) override {
    if (!part.failed()) return;
    failed_ = true;
    const char* file = part.file_name();
    write_all(fd_, std::string(file == nullptr ? "?" : file) + ":" + std::to_string(part.line_number()) + ": " +
                       part.message() + "\n");
  }

  bool failed() const { return failed_; }

 private:
  int fd_;
  bool failed_ = false;
};

[[noreturn]] void run_child(int fd, const std::function<void()>& body) {
  const std::string trouble = enter_namespaces();
  if (!trouble.empty()) {
    write_all(fd, "no network namespace: " + trouble + "\n");
    ::_exit(2);
  }
  auto& listeners = ::testing::UnitTest::GetInstance()->listeners();
  delete listeners.Release(listeners.default_result_printer());
  auto* reporter = new FailureReporter(fd);  // owned by gtest
  listeners.Append(reporter);
  try {
    body();
  } catch (const std::exception& e) {
    write_all(fd, std::string("exception: ") + e.what() + "\n");
    ::_exit(3);
  }
  std::fflush(nullptr);
  ::_exit(reporter->failed() ? 1 : 0);
}

}  // namespace

::testing::AssertionResult in_new_netns(const std::function<void()>& body) {
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) return ::testing::AssertionFailure() << "pipe: " << std::strerror(errno);
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child < 0) return ::testing::AssertionFailure() << "fork: " << std::strerror(errno);
  if (child == 0) {
    ::close(pipe[0]);
    run_child(pipe[1], body);
  }
  ::close(pipe[1]);
  const std::string report = read_all(pipe[0]);
  ::close(pipe[0]);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return ::testing::AssertionSuccess();
  auto failure = ::testing::AssertionFailure() << "in the network namespace:\n" << report;
  if (WIFSIGNALED(status)) failure << "killed by signal " << WTERMSIG(status) << "\n";
  if (WIFEXITED(status) && report.empty()) failure << "exit status " << WEXITSTATUS(status) << " without a report\n";
  return failure;
}

CommandResult run(const std::string& command) {
  return run_with_input(command, {});
}

CommandResult run_with_input(const std::string& command, const std::string& input) {
  const int in = ::memfd_create("input", MFD_CLOEXEC);
  std::array<int, 2> out{};
  if (in < 0 || ::pipe2(out.data(), O_CLOEXEC) != 0) return {};
  write_all(in, input);
  ::lseek(in, 0, SEEK_SET);
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(in, STDIN_FILENO);
    ::dup2(out[1], STDOUT_FILENO);
    ::dup2(out[1], STDERR_FILENO);
    ::execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
    ::_exit(127);
  }
  ::close(in);
  ::close(out[1]);
  CommandResult result;
  if (child > 0) {
    result.output = read_all(out[0]);
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFEXITED(status)) result.status = WEXITSTATUS(status);
  }
  ::close(out[0]);
  return result;
}

}  // namespace podfence::test
