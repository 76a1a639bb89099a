#include "enforcer/netlink/transaction.h"

#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <array>
#include <optional>

#include "enforcer/netlink/attribute.h"

namespace podfence::netlink {
namespace {

constexpr std::size_t default_send_buffer = 64 * 1024;

/// Reads what has been queued until the answer to the batch's last message, or to the batch as a whole.
Result<std::vector<Ack>> hear(Socket& socket, const Batch& batch) {
  std::vector<Ack> refused;
  bool lost = false;
  bool done = false;
  while (!done) {
    const auto datagram = socket.receive();
    if (!datagram) {
      if (datagram.error().code() == Errc::busy) {
        // The kernel has answered everything before send() returned: what is not queued now will not come.
        lost = true;
        if (auto set = socket.set_receive_timeout(0); !set) return fail(set.error());
        continue;
      }
      if (lost && !refused.empty()) return refused;
      return fail(datagram.error());
    }
    for_each_message(*datagram, [&](const nlmsghdr* part) {
      const auto ack = parse_ack(bytes_of(part));
      if (!ack || ack->sequence < batch.first_sequence() || ack->sequence > batch.last_sequence()) return true;
      if (ack->error != 0) refused.push_back(*ack);
      // An error of the beginning is one of the whole batch: a stale generation, a failed commit, no permission.
      done = done || ack->sequence == batch.last_sequence() || ack->sequence == batch.first_sequence();
      return true;
    });
  }
  return refused;
}

}  // namespace

Result<std::uint32_t> generation(Socket& socket) {
  std::array<std::byte, 64> buffer{};
  nlmsghdr* message = mnl_nlmsg_put_header(buffer.data());
  message->nlmsg_type = (NFNL_SUBSYS_NFTABLES << 8U) | NFT_MSG_GETGEN;
  auto* extra = static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(message, sizeof(nfgenmsg)));
  extra->version = NFNETLINK_V0;
  std::optional<std::uint32_t> number;
  const auto asked = socket.query(message, [&](const nlmsghdr* answer) {
    for_each_attribute(attributes_of(answer, sizeof(nfgenmsg)), [&](const Attribute& a) {
      if (a.type == NFTA_GEN_ID) number = a.be32();
    });
  });
  if (!asked) return fail(Error(asked.error()).in("nftables generation"));
  if (!number) return fail(Errc::io, "nftables generation: the kernel's answer has none");
  return *number;
}

Result<std::vector<Ack>> send_batch(Socket& socket, Batch& batch, std::uint32_t generation) {
  const std::uint32_t first = socket.next_sequence();
  for (std::uint32_t i = 1; i < batch.sequences_used(); ++i) socket.next_sequence();
  const auto bytes = batch.seal(generation, first);
  if (bytes.size() > default_send_buffer) socket.grow_send_buffer(bytes.size() + default_send_buffer);
  if (auto sent = socket.send(bytes); !sent) return fail(sent.error());
  auto answers = hear(socket, batch);
  if (auto set = socket.set_receive_timeout(5000); !set) return fail(set.error());
  return answers;
}

}  // namespace podfence::netlink
