#pragma once
// A node between a client and a server, each in a network namespace, for the figures that need real packets.
#include <cstddef>
#include <string>

#include "policy/net/ip.h"
#include "policy/net/protocol.h"

namespace podfence::bench {

/// A network namespace held by a file descriptor.
class NetNamespace {
 public:
  NetNamespace();  // a new one, loopback up; the caller stays where it was. Throws std::system_error
  ~NetNamespace();
  NetNamespace(const NetNamespace&) = delete;
  NetNamespace& operator=(const NetNamespace&) = delete;

  int fd() const { return fd_; }
  std::string path() const;  // for `ip link set ... netns PATH`
  void shell(const std::string& command) const;

 private:
  int fd_ = -1;
};

/// The calling thread is inside for the lifetime of this object.
class Inside {
 public:
  explicit Inside(const NetNamespace& ns);
  ~Inside();
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;

 private:
  int before_ = -1;
};

/// client (owns `client_ip`) -- node (forwards) -- server (owns `server_ip`). IPv4.
struct Wire {
  NetNamespace client;
  NetNamespace node;
  NetNamespace server;
  Wire(const net::IpAddr& client_ip, const net::IpAddr& server_ip);
};

/// Opens `count` TCP connections one after the other and closes each at once. Connections per second of CPU: the thread
/// that sends a packet carries it through the node to the other end, so its CPU time is the whole cost, whatever else
/// the machine does. 0 when one failed.
double connection_rate(const Wire& wire, const net::IpAddr& server_ip, net::Port port, std::size_t count);

}  // namespace podfence::bench
