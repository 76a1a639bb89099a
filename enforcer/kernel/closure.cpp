#include "enforcer/kernel/closure.h"

#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "enforcer/netlink/batch.h"
#include "enforcer/netlink/transaction.h"

namespace podfence::kernel {
namespace {

constexpr const char* table = "podfence_deny";
constexpr int most_attempts = 20;

void delete_chain(netlink::Batch& batch, const std::string& name) {
  nlmsghdr* message = batch.start(NFT_MSG_DELCHAIN, 0);
  static_cast<nfgenmsg*>(mnl_nlmsg_get_payload(message))->nfgen_family = NFPROTO_NETDEV;
  mnl_attr_put_strz(message, NFTA_CHAIN_TABLE, table);
  mnl_attr_put_strz(message, NFTA_CHAIN_NAME, name.c_str());
  batch.finish(message);
}

}  // namespace

Result<> lift_closure(const std::string& device) {
  auto socket = netlink::Socket::open(NETLINK_NETFILTER);
  if (!socket) return fail(socket.error());
  for (int attempt = 1;; ++attempt) {
    const auto generation = netlink::generation(*socket);
    if (!generation) return fail(generation.error());
    netlink::Batch batch;
    delete_chain(batch, "in-" + device);
    delete_chain(batch, "out-" + device);
    const auto refused = netlink::send_batch(*socket, batch, *generation);
    if (!refused) return fail(refused.error());
    if (refused->empty()) return {};
    const auto code = netlink::errc_of(refused->front().error);
    if (code == Errc::not_found) return {};
    if (code == Errc::busy && attempt < most_attempts) continue;
    return fail(code, "opening " + device + ": " + netlink::describe(refused->front()));
  }
}

}  // namespace podfence::kernel
