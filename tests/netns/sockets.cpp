#include "tests/netns/sockets.h"

#include <linux/if_packet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <stdexcept>
#include <thread>
#include <utility>

namespace podfence::test {
namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void give_up(const char* what) {
  throw std::runtime_error(std::string(what) + ": " + std::strerror(errno));
}

/// A sockaddr as bytes.
std::string address_of(const Endpoint& endpoint) {
  if (endpoint.ip.family() == net::Family::ipv4) {
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_port = htons(endpoint.port.number);
    std::memcpy(&a.sin_addr, endpoint.ip.bytes().data(), 4);
    return {static_cast<const char*>(static_cast<const void*>(&a)), sizeof(a)};
  }
  sockaddr_in6 a{};
  a.sin6_family = AF_INET6;
  a.sin6_port = htons(endpoint.port.number);
  std::memcpy(&a.sin6_addr, endpoint.ip.bytes().data(), 16);
  return {static_cast<const char*>(static_cast<const void*>(&a)), sizeof(a)};
}

const sockaddr* as_sockaddr(const std::string& bytes) {
  return static_cast<const sockaddr*>(static_cast<const void*>(bytes.data()));
}

int domain_of(net::Family family) {
  return family == net::Family::ipv4 ? AF_INET : AF_INET6;
}

/// Reads until the text has come or the time is over.
bool comes(const Socket& socket, const std::string& text, int milliseconds) {
  const auto end = Clock::now() + std::chrono::milliseconds(milliseconds);
  std::string got;
  while (got.size() < text.size()) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
    if (left <= 0 || !socket.readable(static_cast<int>(left))) return false;
    std::array<char, 4096> buffer{};
    const auto size = ::recv(socket.fd(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (size <= 0) return false;
    got.append(buffer.data(), static_cast<std::size_t>(size));
  }
  return got.substr(got.size() - text.size()) == text;
}

/// Whether anything was there, or came in time.
bool drained(const Socket& socket, int milliseconds) {
  bool heard = false;
  std::array<char, 4096> buffer{};
  while (socket.readable(heard ? 0 : milliseconds)) {
    if (::recv(socket.fd(), buffer.data(), buffer.size(), 0) < 0) break;
    heard = true;
  }
  return heard;
}

}  // namespace

Socket::Socket(const Topology& topology, Place place, int domain, int type, int protocol) {
  topology.enter(place);
  fd_ = ::socket(domain, type | SOCK_CLOEXEC, protocol);
  topology.back_to_node();
  if (fd_ < 0) give_up("socket");
}

Socket::Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

Socket& Socket::operator=(Socket&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

Socket::~Socket() {
  if (fd_ >= 0) ::close(fd_);
}

bool Socket::readable(int milliseconds) const {
  pollfd wait{fd_, POLLIN, 0};
  return ::poll(&wait, 1, milliseconds) == 1;
}

void Socket::bind(const Endpoint& endpoint) const {
  const int on = 1;
  ::setsockopt(fd_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  // The outside owns every address by a route, not by an interface.
  ::setsockopt(fd_, SOL_IP, IP_FREEBIND, &on, sizeof(on));
  ::setsockopt(fd_, SOL_IPV6, IPV6_FREEBIND, &on, sizeof(on));
  const auto address = address_of(endpoint);
  if (::bind(fd_, as_sockaddr(address), static_cast<socklen_t>(address.size())) != 0) give_up("bind");
}

int Socket::connect(const Endpoint& endpoint) const {
  const auto address = address_of(endpoint);
  return ::connect(fd_, as_sockaddr(address), static_cast<socklen_t>(address.size())) == 0 ? 0 : errno;
}

UdpSocket::UdpSocket(const Topology& topology, Place place, const Endpoint& own)
    : socket_(topology, place, domain_of(own.ip.family()), SOCK_DGRAM, 0) {
  socket_.bind(own);
}

void UdpSocket::connect(const Endpoint& other) {
  if (socket_.connect(other) != 0) give_up("connect");
}

void UdpSocket::discover_mtu() {
  const int mode = IP_PMTUDISC_DO;
  const int on = 1;
  if (::setsockopt(socket_.fd(), SOL_IP, IP_MTU_DISCOVER, &mode, sizeof(mode)) != 0) give_up("IP_MTU_DISCOVER");
  if (::setsockopt(socket_.fd(), SOL_IP, IP_RECVERR, &on, sizeof(on)) != 0) give_up("IP_RECVERR");
}

bool UdpSocket::send(std::string_view text) const {
  return ::send(socket_.fd(), text.data(), text.size(), 0) == static_cast<ssize_t>(text.size());
}

bool UdpSocket::answer(std::string_view text) const {
  return ::sendto(socket_.fd(), text.data(), text.size(), 0, as_sockaddr(sender_),
                  static_cast<socklen_t>(sender_.size())) == static_cast<ssize_t>(text.size());
}

std::optional<std::string> UdpSocket::receive(int milliseconds) {
  if (!socket_.readable(milliseconds)) return std::nullopt;
  std::array<char, 4096> buffer{};
  sockaddr_storage from{};
  socklen_t length = sizeof(from);
  auto* address = static_cast<sockaddr*>(static_cast<void*>(&from));
  const auto size = ::recvfrom(socket_.fd(), buffer.data(), buffer.size(), 0, address, &length);
  if (size < 0) return std::nullopt;
  sender_.assign(static_cast<const char*>(static_cast<const void*>(&from)), length);
  return std::string(buffer.data(), static_cast<std::size_t>(size));
}

int UdpSocket::wait_for_error() const {
  pollfd wait{socket_.fd(), POLLERR, 0};
  if (::poll(&wait, 1, patient) != 1) return 0;
  int error = 0;
  socklen_t length = sizeof(error);
  if (::getsockopt(socket_.fd(), SOL_SOCKET, SO_ERROR, &error, &length) != 0) give_up("SO_ERROR");
  return error;
}

net::Port UdpSocket::port() const {
  sockaddr_storage own{};
  socklen_t length = sizeof(own);
  if (::getsockname(socket_.fd(), static_cast<sockaddr*>(static_cast<void*>(&own)), &length) != 0)
    give_up("getsockname");
  // The port stands at the same place in both families.
  return net::Port{ntohs(static_cast<const sockaddr_in*>(static_cast<const void*>(&own))->sin_port)};
}

RawListener::RawListener(const Topology& topology, Place place, net::Family family, net::Protocol protocol)
    : socket_(topology, place, domain_of(family), SOCK_RAW | SOCK_NONBLOCK, protocol.number) {}

void RawListener::join(const net::IpAddr& group, const net::IpAddr& own) {
  ip_mreq request{};
  std::memcpy(&request.imr_multiaddr, group.bytes().data(), 4);
  std::memcpy(&request.imr_interface, own.bytes().data(), 4);
  if (::setsockopt(socket_.fd(), SOL_IP, IP_ADD_MEMBERSHIP, &request, sizeof(request)) != 0) give_up("joining a group");
}

bool RawListener::hears(int milliseconds) {
  return drained(socket_, milliseconds);
}

FrameListener::FrameListener(const Topology& topology, Place place, std::uint16_t ether_type)
    : socket_(topology, place, AF_PACKET, SOCK_DGRAM | SOCK_NONBLOCK, htons(ether_type)) {
  const int on = 1;
  if (::setsockopt(socket_.fd(), SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)) != 0) give_up("packet socket");
}

bool FrameListener::hears(int milliseconds) {
  return drained(socket_, milliseconds);
}

bool FrameListener::hears_from(const net::IpAddr& source, int milliseconds) {
  constexpr std::size_t source_at = 12;  // of an IPv4 header
  const auto wanted = source.bytes();
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(milliseconds);
  for (;;) {
    std::array<std::uint8_t, 64> packet{};
    const auto length = ::recv(socket_.fd(), packet.data(), packet.size(), MSG_DONTWAIT | MSG_TRUNC);
    if (length >= static_cast<ssize_t>(source_at + wanted.size()) &&
        std::memcmp(packet.data() + source_at, wanted.data(), wanted.size()) == 0) {
      return true;
    }
    if (length >= 0) continue;
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    if (left.count() <= 0 || !socket_.readable(static_cast<int>(left.count()))) return false;
  }
}

std::optional<TcpPair> TcpPair::open(const Topology& topology, Place client, const net::IpAddr& source, Place server,
                                     const Endpoint& endpoint, std::optional<Endpoint> as_seen) {
  const int domain = domain_of(source.family());
  const Socket listener(topology, server, domain, SOCK_STREAM, 0);
  listener.bind(endpoint);
  if (::listen(listener.fd(), 4) != 0) give_up("listen");
  Socket from(topology, client, domain, SOCK_STREAM | SOCK_NONBLOCK, 0);
  from.bind({source, net::Port{0}});
  const int error = from.connect(as_seen.value_or(endpoint));
  if (error != 0 && error != EINPROGRESS) return std::nullopt;
  constexpr int long_enough_for_one_repeat = 1300;
  if (!listener.readable(long_enough_for_one_repeat)) return std::nullopt;
  const int to = ::accept4(listener.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (to < 0) give_up("accept");
  // Lost segments come again quickly, so that a test need not wait for the first timeout.
  const int on = 1;
  for (const int fd : {from.fd(), to}) ::setsockopt(fd, SOL_TCP, TCP_NODELAY, &on, sizeof(on));
  return TcpPair(std::move(from), Socket(to));
}

bool TcpPair::carries(bool both_ways, int milliseconds) {
  const auto text = "text " + std::to_string(++sent_) + "\n";
  if (::send(client_.fd(), text.data(), text.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(text.size())) return false;
  if (!comes(server_, text, milliseconds)) return false;
  return !both_ways || carries_back(milliseconds);
}

bool TcpPair::carries_back(int milliseconds) {
  const auto text = "answer " + std::to_string(++sent_) + "\n";
  if (::send(server_.fd(), text.data(), text.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(text.size())) return false;
  return comes(client_, text, milliseconds);
}

}  // namespace podfence::test
