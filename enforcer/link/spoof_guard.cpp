#include "enforcer/link/spoof_guard.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <net/if.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "enforcer/link/guard_rules.h"
#include "enforcer/netlink/attribute.h"
#include "enforcer/netlink/transaction.h"

namespace podfence::link {
namespace {

using netlink::Attribute;

constexpr std::string_view chain_prefix = "dev_";
constexpr int commit_attempts = 20;

/// A dump request of the netdev family for one type of object of our table.
nlmsghdr* dump_request(void* buffer, std::uint16_t type) {
  nlmsghdr* message = mnl_nlmsg_put_header(buffer);
  message->nlmsg_type = static_cast<std::uint16_t>((NFNL_SUBSYS_NFTABLES << 8U) | type);
  message->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  auto* extra = static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(message, sizeof(nfgenmsg)));
  extra->nfgen_family = NFPROTO_NETDEV;
  extra->version = NFNETLINK_V0;
  extra->res_id = 0;
  return message;
}

std::uint64_t be64(const Attribute& a) {
  Cursor cursor(a.value);
  const auto high = cursor.take_be32();
  const auto low = cursor.take_be32();
  return high && low ? (static_cast<std::uint64_t>(*high) << 32U) | *low : 0;
}

}  // namespace

Result<SpoofGuard> SpoofGuard::open(const program::Options& options) {
  auto socket = netlink::Socket::open(NETLINK_NETFILTER);
  if (!socket) return fail(socket.error());
  SpoofGuard guard(std::move(*socket), options);
  if (auto found = guard.find_chains(); !found) return fail(std::move(found.error()).in("table netdev podfence"));
  return guard;
}

Result<> SpoofGuard::find_chains() {
  chained_.clear();
  alignas(nlmsghdr) std::array<char, 256> buffer{};
  return socket_.dump(dump_request(buffer.data(), NFT_MSG_GETCHAIN), [&](const nlmsghdr* answer) {
    std::string_view table;
    std::string_view chain;
    netlink::for_each_attribute(netlink::attributes_of(answer, sizeof(nfgenmsg)), [&](const Attribute& a) {
      if (a.type == NFTA_CHAIN_TABLE) table = a.text();
      if (a.type == NFTA_CHAIN_NAME) chain = a.text();
    });
    if (table == guard_table && chain.substr(0, chain_prefix.size()) == chain_prefix) {
      chained_.emplace(chain.substr(chain_prefix.size()));
    }
  });
}

void SpoofGuard::put_elements(const std::map<std::string, GuardedDevice>& devices) {
  for (const auto family : net::families) {
    nlmsghdr* flush = start_netdev(batch_, NFT_MSG_DELSETELEM, 0);
    mnl_attr_put_strz(flush, NFTA_SET_ELEM_LIST_TABLE, guard_table);
    mnl_attr_put_strz(flush, NFTA_SET_ELEM_LIST_SET, own_set(family));
    batch_.finish(flush);
    for (const auto& [name, device] : devices) {
      for (const auto& address : device.addresses) {
        if (address.family() != family) continue;
        nlmsghdr* message = start_netdev(batch_, NFT_MSG_NEWSETELEM, NLM_F_CREATE);
        mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_TABLE, guard_table);
        mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_SET, own_set(family));
        nlattr* list = mnl_attr_nest_start(message, NFTA_SET_ELEM_LIST_ELEMENTS);
        nlattr* element = mnl_attr_nest_start(message, 1);
        nlattr* key = mnl_attr_nest_start(message, NFTA_SET_ELEM_KEY);
        std::array<std::uint8_t, 20> bytes{};
        std::memcpy(bytes.data(), &device.index, 4);  // meta iif is in host order
        std::memcpy(bytes.data() + 4, address.bytes().data(), address.bytes().size());
        mnl_attr_put(message, NFTA_DATA_VALUE, 4 + address.bytes().size(), bytes.data());
        mnl_attr_nest_end(message, key);
        mnl_attr_nest_end(message, element);
        mnl_attr_nest_end(message, list);
        batch_.finish(message);
      }
    }
  }
}

void SpoofGuard::put_devices(const std::map<std::string, GuardedDevice>& devices) {
  for (const auto& [name, device] : devices) {
    if (chained_.count(name) == 0) put_device_chain(batch_, name);
  }
  for (const auto& name : chained_) {
    if (devices.count(name) == 0) delete_device_chain(batch_, name);
  }
}

Result<std::vector<std::string>> SpoofGuard::set(const std::map<std::string, GuardedDevice>& devices) {
  std::vector<std::string> missing;
  std::map<std::string, GuardedDevice> there;
  for (const auto& [name, device] : devices) {
    if (::if_nametoindex(name.c_str()) == device.index) {
      there.emplace(name, device);
    } else {
      missing.push_back(name);
    }
  }
  for (int attempt = 1;; ++attempt) {
    if (auto found = find_chains(); !found) return fail(found.error());  // somebody else may have taken one away
    batch_.clear();
    put_guard_table(batch_);
    put_guard_rules(batch_, options_);
    put_elements(there);
    put_devices(there);
    const auto generation = netlink::generation(socket_);
    if (!generation) return fail(generation.error());
    const auto refused = netlink::send_batch(socket_, batch_, *generation);
    if (!refused) return fail(refused.error());
    if (refused->empty()) break;
    const auto& first = refused->front();
    const bool again = first.error == ERESTART || first.error == EAGAIN;
    if (!again || attempt == commit_attempts) {
      return fail(netlink::errc_of(first.error), "source guard: " + netlink::describe(first));
    }
  }
  chained_.clear();
  for (const auto& [name, device] : there) chained_.insert(name);
  return missing;
}

Result<std::map<std::string, std::uint64_t>> SpoofGuard::counters() {
  std::map<std::string, std::uint64_t> packets;
  alignas(nlmsghdr) std::array<char, 256> buffer{};
  auto done = socket_.dump(dump_request(buffer.data(), NFT_MSG_GETOBJ), [&](const nlmsghdr* answer) {
    std::string_view table;
    std::string_view name;
    std::uint64_t count = 0;
    netlink::for_each_attribute(netlink::attributes_of(answer, sizeof(nfgenmsg)), [&](const Attribute& a) {
      if (a.type == NFTA_OBJ_TABLE) table = a.text();
      if (a.type == NFTA_OBJ_NAME) name = a.text();
      if (a.type != NFTA_OBJ_DATA) return;
      netlink::for_each_attribute(a.value, [&](const Attribute& data) {
        if (data.type == NFTA_COUNTER_PACKETS) count = be64(data);
      });
    });
    if (table == guard_table) packets.emplace(name, count);
  });
  if (!done) return fail(done.error());
  return packets;
}

Result<> SpoofGuard::purge() {
  batch_.clear();
  put_guard_table(batch_);  // so that there is one to delete
  nlmsghdr* message = start_netdev(batch_, NFT_MSG_DELTABLE, 0);
  mnl_attr_put_strz(message, NFTA_TABLE_NAME, guard_table);
  batch_.finish(message);
  const auto generation = netlink::generation(socket_);
  if (!generation) return fail(generation.error());
  const auto refused = netlink::send_batch(socket_, batch_, *generation);
  if (!refused) return fail(refused.error());
  if (!refused->empty()) {
    return fail(netlink::errc_of(refused->front().error), "source guard: " + netlink::describe(refused->front()));
  }
  chained_.clear();
  return {};
}

}  // namespace podfence::link
