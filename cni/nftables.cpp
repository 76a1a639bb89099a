#include "cni/nftables.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "cni/netlink.h"

namespace podfence::cni {
namespace {

constexpr const char* agent_table = "podfence";
constexpr const char* closure_table = "podfence_deny";
constexpr std::int32_t before_all_others = -500;

Message nft_message(std::uint16_t type, std::uint16_t flags, std::uint8_t family) {
  Message message(static_cast<std::uint16_t>((NFNL_SUBSYS_NFTABLES << 8U) | type), flags);
  message.header(nfgenmsg{family, NFNETLINK_V0, 0});
  return message;
}

/// The mark of a transaction's begin or end.
Message batch_message(std::uint16_t type) {
  Message message(type, 0);
  message.header(nfgenmsg{AF_UNSPEC, NFNETLINK_V0, htons(NFNL_SUBSYS_NFTABLES)});
  return message;
}

Message closing_chain(const std::string& name, const std::string& device, std::uint32_t hook) {
  Message message = nft_message(NFT_MSG_NEWCHAIN, NLM_F_CREATE | NLM_F_ACK, NFPROTO_NETDEV);
  message.text(NFTA_CHAIN_TABLE, closure_table).text(NFTA_CHAIN_NAME, name);
  message.begin(NFTA_CHAIN_HOOK).attribute(NFTA_HOOK_HOOKNUM, htonl(hook));
  message.attribute(NFTA_HOOK_PRIORITY, htonl(static_cast<std::uint32_t>(before_all_others)));
  message.text(NFTA_HOOK_DEV, device).end();
  message.attribute(NFTA_CHAIN_POLICY, htonl(std::uint32_t{NF_DROP})).text(NFTA_CHAIN_TYPE, "filter");
  return message;
}

Message gone_chain(const std::string& name) {
  Message message = nft_message(NFT_MSG_DELCHAIN, NLM_F_ACK, NFPROTO_NETDEV);
  message.text(NFTA_CHAIN_TABLE, closure_table).text(NFTA_CHAIN_NAME, name);
  return message;
}

/// All or nothing.
Result<void> commit(std::vector<Message> commands) {
  auto netlink = Netlink::open(NETLINK_NETFILTER);
  if (!netlink) return fail(netlink.error());
  commands.insert(commands.begin(), batch_message(NFNL_MSG_BATCH_BEGIN));
  commands.push_back(batch_message(NFNL_MSG_BATCH_END));
  auto done = netlink->ask(commands);
  if (!done) return fail(std::move(done.error()).in("nftables"));
  return {};
}

}  // namespace

Result<bool> agent_table_present() {
  auto netlink = Netlink::open(NETLINK_NETFILTER);
  if (!netlink) return fail(netlink.error());
  Message question = nft_message(NFT_MSG_GETTABLE, 0, NFPROTO_INET);
  question.text(NFTA_TABLE_NAME, agent_table);
  const auto answer = netlink->ask({question});
  if (answer) return true;
  if (answer.error().code() == Errc::not_found) return false;
  return fail(answer.error());
}

Result<void> close_device_now(const std::string& device) {
  Message table = nft_message(NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_ACK, NFPROTO_NETDEV);
  table.text(NFTA_TABLE_NAME, closure_table);
  return commit({table, closing_chain("in-" + device, device, NF_NETDEV_INGRESS),
                 closing_chain("out-" + device, device, NF_NETDEV_EGRESS)});
}

Result<void> lift_closure_of(const std::string& device) {
  auto lifted = commit({gone_chain("in-" + device), gone_chain("out-" + device)});
  if (!lifted && lifted.error().code() == Errc::not_found) return {};
  return lifted;
}

}  // namespace podfence::cni
