#include "enforcer/flow/table_epoch.h"

#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <utility>

#include "enforcer/netlink/attribute.h"

namespace podfence::flow {
namespace {

std::string here() {
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  struct stat status {};
  const bool known = ::stat("/proc/self/ns/net", &status) == 0;
  return boot + ':' + (known ? std::to_string(status.st_ino) : std::string());
}

/// The handle in one NFT_MSG_NEWTABLE.
std::optional<std::uint64_t> handle_in(std::span<const std::byte> message) {
  Cursor cursor(message);
  const auto header = cursor.take_as<nlmsghdr>();
  if (!header || header->nlmsg_type != ((NFNL_SUBSYS_NFTABLES << 8U) | NFT_MSG_NEWTABLE)) return std::nullopt;
  if (!cursor.take(sizeof(nfgenmsg))) return std::nullopt;
  std::optional<std::uint64_t> handle;
  netlink::for_each_attribute(cursor.rest(), [&](const netlink::Attribute& attribute) {
    if (attribute.type != NFTA_TABLE_HANDLE || attribute.value.size() != 8) return;
    Cursor value(attribute.value);
    const auto high = value.take_be32();
    const auto low = value.take_be32();
    if (high && low) handle = (std::uint64_t{*high} << 32U) | *low;
  });
  return handle;
}

}  // namespace

TableEpoch::TableEpoch(std::string table) : table_(std::move(table)), place_(here()) {}

std::optional<std::vector<std::byte>> TableEpoch::ask() {
  if (!socket_) {
    auto opened = netlink::Socket::open(NETLINK_NETFILTER);
    if (!opened) return std::nullopt;
    socket_.emplace(std::move(*opened));
  }
  alignas(nlmsghdr) std::array<char, 512> bytes{};
  nlmsghdr* message = mnl_nlmsg_put_header(bytes.data());
  message->nlmsg_type = (NFNL_SUBSYS_NFTABLES << 8U) | NFT_MSG_GETTABLE;
  message->nlmsg_flags = NLM_F_REQUEST;
  message->nlmsg_seq = socket_->next_sequence();
  auto* family = static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(message, sizeof(nfgenmsg)));
  family->nfgen_family = NFPROTO_INET;
  family->version = NFNETLINK_V0;
  mnl_attr_put_strz(message, NFTA_TABLE_NAME, table_.c_str());
  if (!socket_->send(netlink::bytes_of(message))) return std::nullopt;
  const auto answer = socket_->receive();
  if (!answer) {
    socket_.reset();  // an answer that comes late must not be taken for the next one
    return std::nullopt;
  }
  return std::vector<std::byte>(answer->begin(), answer->end());
}

std::string TableEpoch::read() {
  const auto answer = ask();
  const auto handle = answer ? handle_in(*answer) : std::nullopt;
  return handle ? place_ + ':' + std::to_string(*handle) : std::string();
}

bool TableEpoch::absent() {
  const auto answer = ask();
  if (!answer) return false;
  Cursor cursor(*answer);
  const auto header = cursor.take_as<nlmsghdr>();
  const auto refusal = cursor.take_as<nlmsgerr>();
  return header && header->nlmsg_type == NLMSG_ERROR && refusal && refusal->error == -ENOENT;
}

}  // namespace podfence::flow
