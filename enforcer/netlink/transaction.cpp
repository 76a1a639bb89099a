#include "enforcer/netlink/transaction.h"

#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <array>
#include <optional>
#include <tuple>
#include <utility>

#include "enforcer/netlink/attribute.h"

namespace podfence::netlink {
namespace {

constexpr unsigned default_deadline_ms = 5000;
constexpr std::size_t default_send_buffer = 64 * 1024;

struct Heard {
  std::vector<Ack> refused;
  std::optional<Error> trouble;  // why not all was heard
};

/// Reads until the answer to the batch's last message, or to the batch as a whole.
Heard hear(Socket& socket, const Batch& batch) {
  Heard heard;
  bool lost = false;
  bool done = false;
  while (!done) {
    const auto datagram = socket.receive();
    if (!datagram) {
      heard.trouble = datagram.error();
      if (datagram.error().code() != Errc::busy) break;
      // Answers were lost. The kernel had given all of them before send() returned: what is not queued will not come.
      lost = true;
      std::ignore = socket.set_receive_timeout(0);
      continue;
    }
    for_each_message(*datagram, [&](const nlmsghdr* part) {
      const auto ack = parse_ack(bytes_of(part));
      if (!ack || ack->sequence < batch.first_sequence() || ack->sequence > batch.last_sequence()) return true;
      if (ack->error != 0) heard.refused.push_back(*ack);
      // An error of the beginning is one of the whole batch: a stale generation, a failed commit, no permission.
      done = done || ack->sequence == batch.last_sequence() || ack->sequence == batch.first_sequence();
      return true;
    });
  }
  if (lost) std::ignore = socket.set_receive_timeout(default_deadline_ms);
  return heard;
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
  if (batch.empty()) return std::vector<Ack>();  // the kernel would answer nothing
  const std::uint32_t first = socket.next_sequence();
  for (std::uint32_t i = 1; i < batch.sequences_used(); ++i) socket.next_sequence();
  const auto bytes = batch.seal(generation, first);
  if (bytes.size() > default_send_buffer) socket.grow_send_buffer(bytes.size() + default_send_buffer);
  if (auto sent = socket.send(bytes); !sent) return fail(sent.error());
  Heard heard = hear(socket, batch);
  // One refusal is enough to know that nothing was done.
  if (heard.trouble && heard.refused.empty()) return fail(std::move(*heard.trouble));
  return std::move(heard.refused);
}

}  // namespace podfence::netlink
