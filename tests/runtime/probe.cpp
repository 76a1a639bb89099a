// The first process of a pod: its first act is to send to each target, and then again every PERIOD milliseconds.
//   probe NAME PERIOD TARGET...      NAME "-": the pod's host name; TARGET: ADDRESS,PORT,udp or ADDRESS,PORT,tcp
// A datagram carries "NAME NUMBER", NUMBER from 0; for TCP it is one SYN. Statically
// linked, so that no loader runs before main().
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

constexpr int most_targets = 16;

struct Target {
  sockaddr_storage address;
  socklen_t length;
  int type;
};

bool read_target(char* text, Target& target) {
  char* port = std::strchr(text, ',');
  if (port == nullptr) return false;
  *port++ = '\0';
  char* protocol = std::strchr(port, ',');
  if (protocol == nullptr) return false;
  *protocol++ = '\0';
  std::memset(&target, 0, sizeof target);
  target.type = std::strcmp(protocol, "tcp") == 0 ? SOCK_STREAM : SOCK_DGRAM;
  const auto number = htons(static_cast<unsigned short>(std::atoi(port)));
  auto* v4 = reinterpret_cast<sockaddr_in*>(&target.address);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&target.address);
  if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = number;
    target.length = sizeof *v4;
  } else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = number;
    target.length = sizeof *v6;
  } else {
    return false;
  }
  return true;
}

/// A datagram comes from the port that it goes to: it is one flow with those that come from there.
void bind_to_port_of(int fd, const Target& target) {
  sockaddr_storage own = target.address;
  if (own.ss_family == AF_INET) {
    reinterpret_cast<sockaddr_in*>(&own)->sin_addr.s_addr = INADDR_ANY;
  } else {
    reinterpret_cast<sockaddr_in6*>(&own)->sin6_addr = in6addr_any;
  }
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  (void)::bind(fd, reinterpret_cast<const sockaddr*>(&own), target.length);
}

void send_to(const Target& target, const char* text, int length) {
  const int fd = ::socket(target.address.ss_family, target.type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  const auto* address = reinterpret_cast<const sockaddr*>(&target.address);
  if (target.type == SOCK_STREAM) {
    (void)::connect(fd, address, target.length);  // the SYN is out when it returns
  } else {
    bind_to_port_of(fd, target);
    (void)::sendto(fd, text, static_cast<size_t>(length), 0, address, target.length);
  }
  ::close(fd);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 64;
  utsname system;
  const char* name = argv[1];
  if (std::strcmp(name, "-") == 0 && ::uname(&system) == 0) name = system.nodename;
  Target targets[most_targets];
  int count = 0;
  for (int i = 3; i < argc && count < most_targets; ++i) {
    if (!read_target(argv[i], targets[count])) return 64;
    ++count;
  }
  const auto period = static_cast<useconds_t>(std::atoi(argv[2]) * 1000);
  char text[100];
  for (unsigned number = 0;; ++number) {
    const int length = std::snprintf(text, sizeof text, "%s %u", name, number);
    for (int i = 0; i < count; ++i) send_to(targets[i], text, length);
    // As process 1 it is only killed by signals that it handles.
    if (number == 0) std::signal(SIGTERM, [](int) { ::_exit(0); });
    ::usleep(period);
  }
}
