#pragma once
// A netlink socket: one protocol, one owner, blocking requests with a deadline. Messages are built by the callers with
// libmnl; this class sends them, waits for the kernel's answer and gives errors the words of the kernel (EXT_ACK).
// Not thread-safe: one user at a time.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "policy/base/result.h"

struct nlmsghdr;

namespace podfence::netlink {

/// The kernel's answer to one message: 0, or an errno with the extended text and where in the message it points.
struct Ack {
  std::uint32_t sequence = 0;
  int error = 0;                        // 0 or a positive errno
  std::string text;                     // NLMSGERR_ATTR_MSG, may be empty
  std::optional<std::uint32_t> offset;  // NLMSGERR_ATTR_OFFS: byte offset into the message that was sent
};

/// Reads one NLMSG_ERROR message; nothing when it is none or is cut short.
std::optional<Ack> parse_ack(std::span<const std::byte> message);

class Socket {
 public:
  /// protocol: NETLINK_NETFILTER, NETLINK_ROUTE. Sets EXT_ACK and CAP_ACK, close-on-exec, and a receive deadline of 5
  /// s.
  static Result<Socket> open(int protocol);
  Socket(Socket&& other) noexcept;
  Socket& operator=(Socket&& other) noexcept;
  ~Socket();

  int fd() const { return fd_; }
  std::uint32_t port_id() const { return port_id_; }
  std::uint32_t next_sequence() { return ++sequence_; }

  /// Joins a multicast group (NFNLGRP_*, RTNLGRP_*).
  Result<> join(unsigned group);
  /// SO_SNDBUFFORCE / SO_RCVBUFFORCE, or the unprivileged option where that is refused. Bytes.
  void grow_send_buffer(std::size_t bytes);
  void grow_receive_buffer(std::size_t bytes);
  /// Milliseconds until receive() gives up; 0 = never waits.
  Result<> set_receive_timeout(unsigned milliseconds);

  Result<> send(std::span<const std::byte> bytes);
  /// The next datagram from the kernel (senders other than the kernel are dropped): unavailable at the deadline, busy
  /// for ENOBUFS (messages were lost). The bytes live until the next call.
  Result<std::span<const std::byte>> receive();

  /// Sends one message (its sequence and NLM_F_ACK are set here) and waits for its ACK. A refusal is the Ack's error.
  Result<Ack> request(nlmsghdr* message);

  /// Sends one request that is answered by one message, and calls `each` with it. An error is the kernel's (errc_of).
  Result<> query(nlmsghdr* message, const std::function<void(const nlmsghdr*)>& each);

  /// Sends one dump request and calls `each` for every message until NLMSG_DONE. Errc::busy when the dump was
  /// interrupted (NLM_F_DUMP_INTR): the caller starts over.
  Result<> dump(nlmsghdr* message, const std::function<void(const nlmsghdr*)>& each);

 private:
  Socket(int fd, std::uint32_t port_id);

  int fd_ = -1;
  std::uint32_t port_id_ = 0;
  std::uint32_t sequence_ = 0;
  std::vector<std::byte> buffer_;
};

/// "Operation not permitted (EPERM): <kernel text>"
std::string describe(const Ack& ack);
std::string errno_text(int error);
/// EPERM and EACCES: permission; EBUSY, EAGAIN, ERESTART, EINTR: busy; ENOENT: not_found; else refused.
Errc errc_of(int error);

}  // namespace podfence::netlink
