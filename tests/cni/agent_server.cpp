#include "tests/cni/agent_server.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <stdexcept>

namespace podfence::test {
namespace {

void send_text(int fd, const std::string& text) {
  std::size_t sent = 0;
  while (sent < text.size()) {
    const ssize_t n = ::send(fd, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
    if (n <= 0) return;
    sent += static_cast<std::size_t>(n);
  }
}

std::string receive_line(int fd) {
  std::string line;
  std::array<char, 4096> buffer{};
  while (line.find('\n') == std::string::npos) {
    const ssize_t n = ::recv(fd, buffer.data(), buffer.size(), 0);
    if (n <= 0) break;
    line.append(buffer.data(), static_cast<std::size_t>(n));
  }
  return line.substr(0, line.find('\n'));
}

}  // namespace

AgentServer::AgentServer(const std::string& path, Does what, std::string answer)
    : listener_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)),
      path_(path),
      what_(what),
      answer_(std::move(answer)) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  if (::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      ::listen(listener_, 64) != 0) {
    throw std::runtime_error(path + ": " + std::strerror(errno));
  }
  thread_ = std::thread([this] { serve(); });
}

AgentServer::~AgentServer() {
  stop_ = true;
  thread_.join();
  for (const int fd : held_) ::close(fd);
  ::close(listener_);
  ::unlink(path_.c_str());
}

std::vector<std::string> AgentServer::requests() {
  const std::lock_guard lock(mutex_);
  return requests_;
}

void AgentServer::serve() {
  while (!stop_) {
    pollfd waiting{listener_, POLLIN, 0};
    if (::poll(&waiting, 1, 5) <= 0) continue;
    const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd >= 0) handle(fd);
  }
}

void AgentServer::handle(int fd) {
  if (what_ == Does::hangs) {
    held_.push_back(fd);
    return;
  }
  if (what_ != Does::hangs_up) {
    const std::string line = receive_line(fd);
    const std::lock_guard lock(mutex_);
    requests_.push_back(line);
  }
  if (what_ == Does::answers) send_text(fd, answer_ + '\n');
  if (what_ == Does::answers_without_newline) send_text(fd, answer_);
  if (what_ == Does::floods) send_text(fd, std::string(200'000, 'x'));
  for (const char c : what_ == Does::drips ? answer_ + '\n' : std::string{}) {
    send_text(fd, {c});
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  ::close(fd);
}

TemporaryDirectory::TemporaryDirectory() {
  std::string pattern = "/tmp/podfence-cni-XXXXXX";
  if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp");
  path_ = pattern;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace podfence::test
