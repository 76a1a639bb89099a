// What somebody else did to the table.
// Before linux/netfilter.h, which has names of its own for the same things.
#include <netinet/in.h>

#include <libmnl/libmnl.h>
#include <libnftnl/chain.h>
#include <libnftnl/rule.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <algorithm>
#include <array>
#include <memory>
#include <span>

#include "enforcer/netlink/attribute.h"
#include "enforcer/netlink/rule_codec.h"
#include "enforcer/observe/observe_table.h"

namespace podfence::observe {
namespace {

using netlink::Attribute;
using netlink::RulePtr;

/// A dump of things of the inet family; `put` adds what narrows it.
template <class Put, class Each>
Result<> dump(netlink::Socket& socket, std::uint16_t type, Put put, Each each) {
  alignas(nlmsghdr) std::array<char, 256> buffer{};
  nlmsghdr* message = mnl_nlmsg_put_header(buffer.data());
  message->nlmsg_type = static_cast<std::uint16_t>((NFNL_SUBSYS_NFTABLES << 8U) | type);
  auto* extra = static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(message, sizeof(nfgenmsg)));
  extra->nfgen_family = NFPROTO_INET;
  extra->version = NFNETLINK_V0;
  extra->res_id = 0;
  put(message);
  return socket.dump(message, each);
}

bool is_ours(const char* table) {
  return table != nullptr && program::observe_table_name == table;
}

struct FoundChain {
  bool hooked = false;  // where it has to be, when it is the base chain
  std::vector<std::string> rules;
};
using FoundChains = std::map<std::string, FoundChain>;

void read_chain(FoundChains& found, const nlmsghdr* message) {
  const std::unique_ptr<nftnl_chain, decltype(&nftnl_chain_free)> chain(nftnl_chain_alloc(), nftnl_chain_free);
  if (nftnl_chain_nlmsg_parse(message, chain.get()) < 0) return;
  const char* name = nftnl_chain_get_str(chain.get(), NFTNL_CHAIN_NAME);
  if (!is_ours(nftnl_chain_get_str(chain.get(), NFTNL_CHAIN_TABLE)) || name == nullptr) return;
  found[name].hooked = nftnl_chain_is_set(chain.get(), NFTNL_CHAIN_HOOKNUM) &&
                       nftnl_chain_get_u32(chain.get(), NFTNL_CHAIN_HOOKNUM) == NF_INET_FORWARD &&
                       nftnl_chain_get_s32(chain.get(), NFTNL_CHAIN_PRIO) == program::observe_priority;
}

void read_rule(FoundChains& found, const nlmsghdr* message) {
  const RulePtr rule(nftnl_rule_alloc());
  if (!rule || nftnl_rule_nlmsg_parse(message, rule.get()) < 0) return;
  const char* chain = nftnl_rule_get_str(rule.get(), NFTNL_RULE_CHAIN);
  if (!is_ours(nftnl_rule_get_str(rule.get(), NFTNL_RULE_TABLE)) || chain == nullptr) return;
  found[chain].rules.push_back(netlink::bytecode_of(rule.get()));
}

Result<FoundChains> read_chains(netlink::Socket& socket) {
  FoundChains found;
  const auto all = [](nlmsghdr*) {};
  auto read = dump(socket, NFT_MSG_GETCHAIN, all, [&](const nlmsghdr* message) { read_chain(found, message); });
  if (read) read = dump(socket, NFT_MSG_GETRULE, all, [&](const nlmsghdr* message) { read_rule(found, message); });
  if (!read) return fail(read.error());
  return found;
}

using Key = std::vector<std::byte>;

/// Of a set that is not there, none.
Result<std::vector<Key>> read_elements(netlink::Socket& socket, const std::string& set) {
  std::vector<Key> found;
  const auto of_set = [&](nlmsghdr* message) {
    mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_TABLE, std::string(program::observe_table_name).c_str());
    mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_SET, set.c_str());
  };
  const auto read = dump(socket, NFT_MSG_GETSETELEM, of_set, [&](const nlmsghdr* message) {
    netlink::for_each_attribute(netlink::attributes_of(message, sizeof(nfgenmsg)), [&](const Attribute& list) {
      if (list.type != NFTA_SET_ELEM_LIST_ELEMENTS) return;
      netlink::for_each_attribute(list.value, [&](const Attribute& element) {
        netlink::for_each_attribute(element.value, [&](const Attribute& key) {
          if (key.type != NFTA_SET_ELEM_KEY) return;
          netlink::for_each_attribute(
              key.value, [&](const Attribute& data) { found.emplace_back(data.value.begin(), data.value.end()); });
        });
      });
    });
  });
  if (!read && read.error().code() != Errc::not_found) return fail(read.error());
  std::sort(found.begin(), found.end());
  return found;
}

std::string damage_of(const FoundChains& found, const program::Chain& chain) {
  const auto it = found.find(chain.name);
  if (it == found.end()) return "chain " + chain.name + " is missing";
  if (it->second.hooked != chain.base) return "chain " + chain.name + " has another hook";
  if (it->second.rules.size() != chain.rules.size()) return "chain " + chain.name + " has other rules";
  for (std::size_t i = 0; i < chain.rules.size(); ++i) {
    const RulePtr made = netlink::make_rule(chain.name, chain.rules[i]);
    if (!made || netlink::bytecode_of(made.get()) != it->second.rules[i]) {
      return "chain " + chain.name + ": rule " + std::to_string(i + 1) + " is another one";
    }
  }
  return {};
}

}  // namespace

Result<std::string> ObserveTable::damage(const std::vector<net::IpAddr>& addresses) {
  const auto packets = counters();
  if (!packets) return fail(packets.error());
  for (const auto& name : program::observe_counter_names()) {
    if (packets->count(name) == 0) return "counter " + name + " is missing";
  }
  const auto found = read_chains(socket_);
  if (!found) return fail(found.error());
  for (const auto& chain : program::observe_chains(options_)) {
    if (chain.base && addresses.empty()) continue;
    if (auto damage = damage_of(*found, chain); !damage.empty()) return damage;
  }
  for (const auto family : net::families) {
    std::vector<Key> wanted;
    for (const auto& ip : addresses) {
      if (ip.family() != family) continue;
      const auto bytes = std::as_bytes(std::span(ip.bytes()));
      wanted.emplace_back(bytes.begin(), bytes.end());
    }
    std::sort(wanted.begin(), wanted.end());
    const auto elements = read_elements(socket_, program::observed_set(family));
    if (!elements) return fail(elements.error());
    if (*elements != wanted) return "set " + program::observed_set(family) + " has other elements";
  }
  return std::string();
}

}  // namespace podfence::observe
