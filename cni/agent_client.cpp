#include "cni/agent_client.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <thread>

#include "cni/descriptor.h"

namespace podfence::cni {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr std::size_t longest_answer = 64 * 1024;
constexpr milliseconds pause_between_tries{20};
constexpr milliseconds pause_while_full{2};

tl::unexpected<Error> failed(Errc code, const std::string& socket, const char* what) {
  return fail(code, socket + ": " + what);
}

tl::unexpected<Error> failed_by_errno(const std::string& socket) {
  const int error = errno;
  const bool absent =
      error == ENOENT || error == ECONNREFUSED || error == ENOTDIR || error == EPIPE || error == ECONNRESET;
  const Errc code = absent ? Errc::unavailable : error == EACCES ? Errc::permission : Errc::io;
  return failed(code, socket, std::strerror(error));
}

/// Waits for `events`; false when the time is up.
bool wait_for(int fd, short events, Clock::time_point end) {
  for (;;) {
    const auto left = std::chrono::ceil<milliseconds>(end - Clock::now());
    if (left <= milliseconds::zero()) return false;
    pollfd waiting{fd, events, 0};
    const int ready = ::poll(&waiting, 1, static_cast<int>(left.count()));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return true;  // the next call on the socket tells what is wrong
  }
}

Result<Descriptor> connect(const std::string& socket, Clock::time_point end) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket.size() >= sizeof(address.sun_path)) return failed(Errc::invalid, socket, "the path is too long");
  socket.copy(&address.sun_path[0], socket.size());
  Descriptor fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return failed_by_errno(socket);
  sockaddr_storage any{};
  std::memcpy(&any, &address, sizeof(address));
  while (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&any), sizeof(address)) != 0) {
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return failed_by_errno(socket);
    // The queue of those who wait to be served is full, and poll() does not tell when there is room.
    if (Clock::now() + pause_while_full >= end) return failed(Errc::busy, socket, "too many are waiting already");
    std::this_thread::sleep_for(pause_while_full);
  }
  ucred peer{};
  socklen_t size = sizeof(peer);
  if (::getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return failed_by_errno(socket);
  if (peer.uid != 0 && peer.uid != ::geteuid()) {
    return failed(Errc::permission, socket, "who listens is neither root nor this user");
  }
  return fd;
}

Result<void> send(const Descriptor& fd, const std::string& socket, std::string_view text, Clock::time_point end) {
  while (!text.empty()) {
    const ssize_t n = ::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL);
    if (n > 0) {
      text.remove_prefix(static_cast<std::size_t>(n));
    } else if (errno == EAGAIN) {
      if (!wait_for(fd.get(), POLLOUT, end)) return failed(Errc::busy, socket, "does not read");
    } else if (errno != EINTR) {
      return failed_by_errno(socket);
    }
  }
  return {};
}

Result<std::string> receive_line(const Descriptor& fd, const std::string& socket, Clock::time_point end) {
  std::string answer;
  std::array<char, 4096> buffer;
  for (;;) {
    if (!wait_for(fd.get(), POLLIN, end)) return failed(Errc::busy, socket, "no answer in time");
    const ssize_t n = ::recv(fd.get(), buffer.data(), buffer.size(), 0);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n < 0) return failed_by_errno(socket);
    if (n == 0 && answer.empty()) return failed(Errc::unavailable, socket, "hung up without an answer");
    if (n == 0) return answer;
    answer.append(buffer.data(), static_cast<std::size_t>(n));
    const std::size_t newline = answer.find('\n');
    if (newline != std::string::npos) return answer.substr(0, newline);
    if (answer.size() > longest_answer) return failed(Errc::limit, socket, "the answer is longer than 64 KiB");
  }
}

Result<std::string> ask_once(const std::string& socket, std::string_view line, Clock::time_point end) {
  auto fd = connect(socket, end);
  if (!fd) return fail(std::move(fd.error()));
  if (auto sent = send(*fd, socket, std::string(line) + '\n', end); !sent) return fail(std::move(sent.error()));
  return receive_line(*fd, socket, end);
}

}  // namespace

Result<std::string> UnixAgent::ask(const std::string& socket, std::string_view line, milliseconds limit,
                                   IfAbsent if_absent) {
  const Clock::time_point end = Clock::now() + limit;
  for (;;) {
    auto answer = ask_once(socket, line, end);
    const bool again = if_absent == IfAbsent::wait && !answer && answer.error().code() == Errc::unavailable;
    if (!again || Clock::now() + pause_between_tries >= end) return answer;
    std::this_thread::sleep_for(pause_between_tries);
  }
}

}  // namespace podfence::cni
