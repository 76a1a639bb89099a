#pragma once
// Cuts the established flows that policy does not allow any more, and touches no other: the label that lets a flow pass
// without being judged is cleared, so that its next packet is judged, and dropped, in whichever direction it goes.
// Deleting the entry would not do: conntrack picks a TCP flow up again in the middle (tcp_loose).
#include <cstddef>

#include "enforcer/conntrack/entry.h"

namespace podfence::conntrack {

struct Revoked {
  std::size_t walked = 0;
  std::size_t labelled = 0;
  std::size_t cleared = 0;
};

/// `still_allowed` is asked about each flow that carries the label, as the forward hook saw its first packet.
Result<Revoked> revoke(netlink::Socket& socket, std::uint8_t label_bit,
                       const std::function<bool(const net::Flow&)>& still_allowed);

}  // namespace podfence::conntrack
