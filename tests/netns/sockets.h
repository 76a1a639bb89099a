#pragma once
// Ordinary sockets in any place of a topology. Errors throw std::runtime_error; waits end after a bounded time.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "policy/net/flow.h"
#include "tests/netns/topology.h"

namespace podfence::test {

struct Endpoint {
  net::IpAddr ip;
  net::Port port;
};

/// A file descriptor, closed with the object.
class Socket {
 public:
  /// In the namespace of a place.
  Socket(const Topology& topology, Place place, int domain, int type, int protocol);
  explicit Socket(int fd) : fd_(fd) {}
  Socket(Socket&& other) noexcept;
  Socket& operator=(Socket&& other) noexcept;
  ~Socket();
  int fd() const { return fd_; }
  /// Something to read within the time.
  bool readable(int milliseconds) const;
  void bind(const Endpoint& endpoint) const;
  int connect(const Endpoint& endpoint) const;  // 0 or errno

 private:
  int fd_ = -1;
};

inline constexpr int soon = 150;      // milliseconds: for what must not come
inline constexpr int patient = 3000;  // for what must come
constexpr int wait_for(bool expected) {
  return expected ? patient : soon;
}

class UdpSocket {
 public:
  UdpSocket(const Topology& topology, Place place, const Endpoint& own);
  void connect(const Endpoint& other);
  void discover_mtu();
  /// False when the kernel refuses.
  bool send(std::string_view text) const;
  /// To the sender of what was received last.
  bool answer(std::string_view text) const;
  std::optional<std::string> receive(int milliseconds = patient);
  /// The pending error of a connected socket, after `patient` at most; 0 = none.
  int wait_for_error() const;
  net::Port port() const;

 private:
  Socket socket_;
  std::string sender_;
};

/// Hears every packet of a protocol that comes to a place.
class RawListener {
 public:
  RawListener(const Topology& topology, Place place, net::Family family, net::Protocol protocol);
  void join(const net::IpAddr& group, const net::IpAddr& own);
  /// One packet or more since the last time, or within the time.
  bool hears(int milliseconds = soon);

 private:
  Socket socket_;
};

/// Hears every frame of an ethernet type that comes in at a place, before anything there looks at it.
class FrameListener {
 public:
  FrameListener(const Topology& topology, Place place, std::uint16_t ether_type);
  /// One frame or more since the last time, or within the time.
  bool hears(int milliseconds = soon);
  /// One frame or more that bears an IPv4 packet of that source.
  bool hears_from(const net::IpAddr& source, int milliseconds = soon);

 private:
  Socket socket_;
};

/// One TCP connection, both ends ours.
class TcpPair {
 public:
  /// Nothing when the connection does not come to be. `as_seen` is where the client connects to, when that is not the
  /// server's own address.
  static std::optional<TcpPair> open(const Topology& topology, Place client, const net::IpAddr& source, Place server,
                                     const Endpoint& endpoint, std::optional<Endpoint> as_seen = std::nullopt);

  /// A text from the client to the server and, when `both_ways`, one back arrive in time.
  bool carries(bool both_ways = true, int milliseconds = patient);
  /// The server's bytes reach the client.
  bool carries_back(int milliseconds = patient);

 private:
  TcpPair(Socket client, Socket server) : client_(std::move(client)), server_(std::move(server)) {}
  Socket client_;
  Socket server_;
  unsigned sent_ = 0;
};

}  // namespace podfence::test
