#include "tests/bench/wire.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <system_error>

#include "tests/bench/figures.h"

namespace podfence::bench {
namespace {

int open_own_namespace() {
  const int fd = ::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw std::system_error(errno, std::system_category(), "/proc/thread-self/ns/net");
  return fd;
}

void enter(int fd) {
  if (::setns(fd, CLONE_NEWNET) != 0) throw std::system_error(errno, std::system_category(), "setns");
}

sockaddr_in address_of(const net::IpAddr& ip, net::Port port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port.number);
  std::memcpy(&address.sin_addr, ip.bytes().data(), 4);
  return address;
}

const sockaddr* generic(const sockaddr_in& address) {
  return static_cast<const sockaddr*>(static_cast<const void*>(&address));
}

int listener_at(const net::IpAddr& ip, net::Port port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const int one = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  const auto address = address_of(ip, port);
  if (::bind(fd, generic(address), sizeof(address)) != 0 || ::listen(fd, 4096) != 0) {
    throw std::system_error(errno, std::system_category(), "listen");
  }
  return fd;
}

/// Reset when closed, so that nothing of it is left behind.
int client_socket() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const timeval limit{3, 0};
  const linger reset{1, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
  return fd;
}

}  // namespace

NetNamespace::NetNamespace() {
  const int before = open_own_namespace();
  if (::unshare(CLONE_NEWNET) != 0) throw std::system_error(errno, std::system_category(), "unshare");
  fd_ = open_own_namespace();
  enter(before);
  ::close(before);
  shell("ip link set lo up");
}

NetNamespace::~NetNamespace() {
  ::close(fd_);
}

std::string NetNamespace::path() const {
  return "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(fd_);
}

void NetNamespace::shell(const std::string& command) const {
  const Inside here(*this);
  if (std::system(command.c_str()) != 0) throw std::runtime_error("failed: " + command);
}

Inside::Inside(const NetNamespace& ns) : before_(open_own_namespace()) {
  enter(ns.fd());
}

Inside::~Inside() {
  enter(before_);
  ::close(before_);
}

Wire::Wire(const net::IpAddr& client_ip, const net::IpAddr& server_ip) {
  const auto plug = [&](const NetNamespace& end, const std::string& device, const net::IpAddr& ip) {
    node.shell("ip link add " + device + " type veth peer name eth0 netns " + end.path());
    node.shell("ip addr add 169.254.1.1/32 dev " + device + " && ip link set " + device + " up && ip route add " +
               ip.text() + "/32 dev " + device);
    end.shell("ip addr add " + ip.text() + "/32 dev eth0 && ip link set eth0 up && ip route add 169.254.1.1 dev eth0" +
              " && ip route add default via 169.254.1.1");
  };
  node.shell("sysctl -qw net.ipv4.ip_forward=1");
  plug(client, "client", client_ip);
  plug(server, "server", server_ip);
}

double connection_rate(const Wire& wire, const net::IpAddr& server_ip, net::Port port, std::size_t count) {
  int listener = -1;
  {
    const Inside here(wire.server);
    listener = listener_at(server_ip, port);
  }
  bool good = true;
  const auto target = address_of(server_ip, port);
  const Inside here(wire.client);
  const double began = cpu_us();
  for (std::size_t i = 0; i < count && good; ++i) {
    const int client = client_socket();
    good = ::connect(client, generic(target), sizeof(target)) == 0;
    const int server = good ? ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC) : -1;
    ::close(client);
    if (server >= 0) ::close(server);
  }
  const double took = cpu_us() - began;
  ::close(listener);
  return good ? static_cast<double>(count) / took * 1e6 : 0;
}

}  // namespace podfence::bench
