#include "enforcer/install/unix_socket.h"

#include <simdjson.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>

namespace podfence::install {
namespace {

constexpr std::size_t longest_answer = 65536;

/// One line there and one back.
Result<std::string> talk(int fd, std::string_view line) {
  constexpr struct timeval limit { 2, 0 };
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  if (::send(fd, line.data(), line.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(line.size())) {
    return fail(system_error("asking"));
  }
  std::string answer;
  std::array<char, 4096> chunk{};
  while (answer.find('\n') == std::string::npos && answer.size() < longest_answer) {
    const auto got = ::recv(fd, chunk.data(), chunk.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(system_error("listening"));
    if (got == 0) break;
    answer.append(chunk.data(), static_cast<std::size_t>(got));
  }
  return answer;
}

}  // namespace

Result<Descriptor> connect_unix(const std::string& path) {
  struct sockaddr_un address {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return fail(Errc::invalid, path + ": is too long for a socket");
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  Descriptor fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const void* generic = &address;
  if (!fd || ::connect(fd.get(), static_cast<const struct sockaddr*>(generic), sizeof(address)) != 0) {
    if (errno == ECONNREFUSED) return fail(Errc::not_found, path + ": nobody listens");
    return fail(system_error(path));
  }
  return fd;
}

Result<> ask_agent(const std::string& socket) {
  const auto trouble = [&](const std::string& why) {
    return fail(Errc::unavailable,
                socket + ": " + why + "; without the agent no pod could start, so start podfence agent first");
  };
  const auto fd = connect_unix(socket);
  if (!fd) return trouble("no agent answers (" + fd.error().what() + ")");
  const auto answer = talk(fd->get(), "{\"command\":\"cni.status\"}\n");
  if (!answer) return trouble("no agent answers (" + answer.error().what() + ")");
  simdjson::dom::parser parser;
  simdjson::dom::object root;
  if (parser.parse(*answer).get(root) != simdjson::SUCCESS) return trouble("what answers is no agent");
  std::string_view error;
  if (root["error"].get(error) == simdjson::SUCCESS) return trouble(std::string(error));
  return {};
}

}  // namespace podfence::install
