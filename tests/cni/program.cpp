#include "tests/cni/program.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <stdexcept>

namespace podfence::test {
namespace {

std::string read_to_end(int fd) {
  std::string text;
  std::array<char, 4096> buffer{};
  for (;;) {
    const ssize_t n = ::read(fd, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return text;
    text.append(buffer.data(), static_cast<std::size_t>(n));
  }
}

struct Pipe {
  Pipe() {
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe");
  }
  std::array<int, 2> ends{};
};

}  // namespace

std::string plugin_file() {
  return PODFENCE_CNI;
}

Program::Program(const std::vector<std::string>& variables, const std::string& input, Input how,
                 const std::string& file, bool close_output) {
  std::vector<char*> environment;
  for (const std::string& variable : variables) environment.push_back(const_cast<char*>(variable.c_str()));
  environment.push_back(nullptr);
  std::array<char*, 2> arguments{const_cast<char*>(file.c_str()), nullptr};
  Pipe in;
  Pipe out;
  Pipe err;
  begin_ = std::chrono::steady_clock::now();
  pid_ = ::vfork();
  if (pid_ == 0) {
    ::dup2(in.ends[0], STDIN_FILENO);
    ::dup2(out.ends[1], STDOUT_FILENO);
    ::dup2(err.ends[1], STDERR_FILENO);
    if (how == Input::closed) ::close(STDIN_FILENO);
    if (close_output) ::close(STDOUT_FILENO);
    ::execve(file.c_str(), arguments.data(), environment.data());
    ::_exit(127);
  }
  ::close(in.ends[0]);
  ::close(out.ends[1]);
  ::close(err.ends[1]);
  ::signal(SIGPIPE, SIG_IGN);
  if (::write(in.ends[1], input.data(), input.size()) < 0 && errno != EPIPE) throw std::runtime_error("write");
  if (how != Input::left_open) {
    ::close(in.ends[1]);
  } else {
    in_ = in.ends[1];
  }
  out_ = out.ends[0];
  err_ = err.ends[0];
}

Program::~Program() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    wait();
  }
}

ProgramAnswer Program::wait() {
  ProgramAnswer answer;
  answer.out = read_to_end(out_);
  answer.err = read_to_end(err_);
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  answer.took = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begin_);
  if (WIFEXITED(status)) answer.status = WEXITSTATUS(status);
  for (const int fd : {in_, out_, err_}) {
    if (fd >= 0) ::close(fd);
  }
  pid_ = -1;
  return answer;
}

}  // namespace podfence::test
