#pragma once
// Listens to one NFLOG group of this network namespace. Lost messages show as gaps in the instance's sequence; that and
// the settings (why each: README.md) make every loss between two messages countable. One user at a time.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "enforcer/flow/decode.h"
#include "enforcer/netlink/socket.h"

namespace podfence::flow {

struct NflogSettings {
  std::uint16_t group = 4021;
  std::size_t receive_buffer = 8 * 1024 * 1024;  // SO_RCVBUFFORCE; the kernel doubles it
  std::uint32_t copy_range = 128;                // bytes of a packet: IPv6, extension headers, TCP
  std::uint32_t kernel_buffer = 64 * 1024;       // of a batch of messages
  std::uint32_t queue_threshold = 100;           // messages in a batch
  std::uint32_t flush_timeout = 10;              // in 1/100 s: a batch that is not full waits that long
};

/// One row of /proc/net/netfilter/nfnetlink_log: the port id of who listens to the group; nothing when nobody does.
std::optional<std::uint32_t> listener_of(std::string_view proc_text, std::uint16_t group);

class NflogSocket {
 public:
  /// Binds the group. Errc::busy when somebody else listens to it, Errc::permission without CAP_NET_ADMIN.
  static Result<NflogSocket> open(const NflogSettings& settings);

  int fd() const { return socket_.fd(); }

  struct Reading {
    std::uint64_t messages = 0;   // packets handed on
    std::uint64_t malformed = 0;  // messages that decode_nflog refused
    std::uint64_t gap = 0;        // messages lost before one of these, by their sequence
    bool drained = false;         // nothing was left
    std::string error;            // of the socket; empty when it is well
  };
  /// Reads until nothing is left or `most_datagrams` are read, and calls `each` for every packet, in order. `gap` is
  /// what was lost just before that packet.
  Reading read(std::size_t most_datagrams,
               const std::function<void(const LoggedPacket& packet, std::uint32_t gap)>& each);

 private:
  explicit NflogSocket(netlink::Socket socket);
  Result<> configure(const NflogSettings& settings);
  std::uint32_t gap_before(const LoggedPacket& packet);

  netlink::Socket socket_;
  std::vector<std::byte> buffer_;
  std::optional<std::uint32_t> next_sequence_;
};

}  // namespace podfence::flow
