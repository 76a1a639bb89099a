#pragma once
// Sends a Batch and hears all of the kernel's answers.
#include <cstdint>
#include <vector>

#include "enforcer/netlink/batch.h"
#include "enforcer/netlink/socket.h"

namespace podfence::netlink {

/// The number of the ruleset's present state. A batch that names it is refused with ERESTART when it is not the
/// present one any more.
Result<std::uint32_t> generation(Socket& socket);

/// The refusals, in the order of their messages; none = committed. An Error means that the outcome is not known: the
/// answers were lost or did not come.
Result<std::vector<Ack>> send_batch(Socket& socket, Batch& batch, std::uint32_t generation);

}  // namespace podfence::netlink
