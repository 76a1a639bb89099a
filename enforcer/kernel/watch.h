#pragma once
// Hears when another process changes our table. Driven by its file descriptor; waits for nothing.
#include <cstdint>
#include <string>

#include "enforcer/netlink/socket.h"

namespace podfence::kernel {

class Watch {
 public:
  /// `own_port`: the socket of NftKernel, whose changes are not news.
  static Result<Watch> open(std::uint32_t own_port);

  /// Readable: call drain().
  int fd() const { return socket_.fd(); }

  struct News {
    bool changed = false;  // our table may not be what we made it: read it again
    std::string by;        // "nft (process 4711)" where the kernel says so
  };
  /// All that is queued. Notifications that were lost count as a change.
  Result<News> drain();

 private:
  explicit Watch(netlink::Socket socket) : socket_(std::move(socket)) {}
  netlink::Socket socket_;
};

}  // namespace podfence::kernel
