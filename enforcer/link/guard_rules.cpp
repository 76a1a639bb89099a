#include "enforcer/link/guard_rules.h"

// Before linux/netfilter.h, which has names of its own for the same things.
#include <netinet/in.h>

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <libnftnl/chain.h>
#include <libnftnl/expr.h>
#include <libnftnl/object.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <linux/if_ether.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <array>
#include <cstring>
#include <memory>

#include "enforcer/netlink/element.h"
#include "policy/program/rule.h"

namespace podfence::link {
namespace {

using net::Family;
namespace type_id = netlink::type_id;

constexpr std::int32_t priority = -200;   // before other ingress filters of the node
constexpr std::uint32_t ip4_source = 12;  // offsets in the network header
constexpr std::uint32_t ip6_source = 8;
constexpr std::uint32_t arp_sender = 14;
constexpr std::uint32_t register_1 = NFT_REG_1;
constexpr std::uint32_t register_word_1 = NFT_REG32_01;  // the second word of NFT_REG_1's space

/// A rule being written: expressions in their order, as nft writes them for the text in the header.
class RuleWriter {
 public:
  explicit RuleWriter(const char* chain) : rule_(nftnl_rule_alloc(), nftnl_rule_free) {
    nftnl_rule_set_str(rule_.get(), NFTNL_RULE_TABLE, guard_table);
    nftnl_rule_set_str(rule_.get(), NFTNL_RULE_CHAIN, chain);
    nftnl_rule_set_u32(rule_.get(), NFTNL_RULE_FAMILY, NFPROTO_NETDEV);
  }
  void put(netlink::Batch& batch) {
    nlmsghdr* message = start_netdev(batch, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
    nftnl_rule_nlmsg_build_payload(message, rule_.get());
    batch.finish(message);
  }

  RuleWriter& ether_type(std::uint16_t type) {
    meta(NFT_META_PROTOCOL, register_1);
    const std::uint16_t big_endian = htons(type);
    return compare(NFT_CMP_EQ, &big_endian, sizeof(big_endian));
  }
  /// `offset`: of the sender's address in the network header
  RuleWriter& own_address(Family family, std::uint32_t offset) {
    meta(NFT_META_IIF, register_1);
    payload(NFT_PAYLOAD_NETWORK_HEADER, offset, static_cast<std::uint32_t>(net::address_size(family)), register_word_1);
    nftnl_expr* e = add("lookup");
    nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_SREG, register_1);
    nftnl_expr_set_str(e, NFTNL_EXPR_LOOKUP_SET, own_set(family));
    return *this;
  }
  /// An ARP probe: whether somebody else has the address.
  RuleWriter& arp_from_nobody() {
    payload(NFT_PAYLOAD_NETWORK_HEADER, arp_sender, 4, register_1);
    const std::uint32_t nobody = 0;
    return compare(NFT_CMP_EQ, &nobody, sizeof(nobody));
  }
  /// ICMPv6 from fe80::/10, or from no address: neighbour discovery and the listener reports for multicast
  RuleWriter& discovery(bool link_local) {
    meta(NFT_META_L4PROTO, register_1);
    compare(NFT_CMP_EQ, &net::icmpv6.number, 1);
    payload(NFT_PAYLOAD_NETWORK_HEADER, 8, 16, register_1);
    const std::array<std::uint8_t, 16> zero{};
    if (link_local) {
      std::array<std::uint8_t, 16> mask{0xff, 0xc0};
      const std::array<std::uint8_t, 16> prefix{0xfe, 0x80};
      nftnl_expr* e = add("bitwise");
      nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_SREG, register_1);
      nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_DREG, register_1);
      nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_OP, NFT_BITWISE_BOOL);
      nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_LEN, mask.size());
      nftnl_expr_set(e, NFTNL_EXPR_BITWISE_MASK, mask.data(), mask.size());
      nftnl_expr_set(e, NFTNL_EXPR_BITWISE_XOR, zero.data(), zero.size());
      compare(NFT_CMP_EQ, prefix.data(), prefix.size());
    } else {
      compare(NFT_CMP_EQ, zero.data(), zero.size());
    }
    return *this;
  }
  RuleWriter& count(const char* counter) {
    nftnl_expr* e = add("objref");
    nftnl_expr_set_u32(e, NFTNL_EXPR_OBJREF_IMM_TYPE, NFT_OBJECT_COUNTER);
    nftnl_expr_set_str(e, NFTNL_EXPR_OBJREF_IMM_NAME, counter);
    return *this;
  }
  RuleWriter& over(std::uint32_t rate) {
    nftnl_expr* e = add("limit");
    nftnl_expr_set_u64(e, NFTNL_EXPR_LIMIT_RATE, rate);
    nftnl_expr_set_u64(e, NFTNL_EXPR_LIMIT_UNIT, 1);  // second
    nftnl_expr_set_u32(e, NFTNL_EXPR_LIMIT_BURST, rate * 2);
    nftnl_expr_set_u32(e, NFTNL_EXPR_LIMIT_TYPE, NFT_LIMIT_PKTS);
    nftnl_expr_set_u32(e, NFTNL_EXPR_LIMIT_FLAGS, NFT_LIMIT_F_INV);
    return *this;
  }
  RuleWriter& log(std::uint16_t group) {
    nftnl_expr* e = add("log");
    nftnl_expr_set_str(e, NFTNL_EXPR_LOG_PREFIX, "pf1:spoof");
    nftnl_expr_set_u16(e, NFTNL_EXPR_LOG_GROUP, group);
    nftnl_expr_set_u32(e, NFTNL_EXPR_LOG_SNAPLEN, program::log_snaplen);
    return *this;
  }
  RuleWriter& verdict(int code, const char* chain = nullptr) {
    nftnl_expr* e = add("immediate");
    nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
    nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_VERDICT, static_cast<std::uint32_t>(code));
    if (chain != nullptr) nftnl_expr_set_str(e, NFTNL_EXPR_IMM_CHAIN, chain);
    return *this;
  }

 private:
  nftnl_expr* add(const char* name) {
    nftnl_expr* e = nftnl_expr_alloc(name);
    nftnl_rule_add_expr(rule_.get(), e);
    return e;
  }
  void meta(std::uint32_t key, std::uint32_t to) {
    nftnl_expr* e = add("meta");
    nftnl_expr_set_u32(e, NFTNL_EXPR_META_KEY, key);
    nftnl_expr_set_u32(e, NFTNL_EXPR_META_DREG, to);
  }
  void payload(std::uint32_t base, std::uint32_t offset, std::uint32_t size, std::uint32_t to) {
    nftnl_expr* e = add("payload");
    nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_BASE, base);
    nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_OFFSET, offset);
    nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_LEN, size);
    nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_DREG, to);
  }
  RuleWriter& compare(std::uint32_t op, const void* data, std::size_t size) {
    nftnl_expr* e = add("cmp");
    nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_SREG, register_1);
    nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_OP, op);
    nftnl_expr_set(e, NFTNL_EXPR_CMP_DATA, data, static_cast<std::uint32_t>(size));
    return *this;
  }

  std::unique_ptr<nftnl_rule, decltype(&nftnl_rule_free)> rule_;
};

void put_chain(netlink::Batch& batch, std::uint16_t type, const std::string& name, const char* device) {
  const std::unique_ptr<nftnl_chain, decltype(&nftnl_chain_free)> chain(nftnl_chain_alloc(), nftnl_chain_free);
  nftnl_chain_set_str(chain.get(), NFTNL_CHAIN_TABLE, guard_table);
  nftnl_chain_set_str(chain.get(), NFTNL_CHAIN_NAME, name.c_str());
  if (device != nullptr) {
    nftnl_chain_set_str(chain.get(), NFTNL_CHAIN_TYPE, "filter");
    nftnl_chain_set_u32(chain.get(), NFTNL_CHAIN_HOOKNUM, NF_NETDEV_INGRESS);
    nftnl_chain_set_s32(chain.get(), NFTNL_CHAIN_PRIO, priority);
    nftnl_chain_set_u32(chain.get(), NFTNL_CHAIN_POLICY, NF_ACCEPT);
    nftnl_chain_set_str(chain.get(), NFTNL_CHAIN_DEV, device);
  }
  const bool makes = type == NFT_MSG_NEWCHAIN;
  nlmsghdr* message = start_netdev(batch, type, makes ? NLM_F_CREATE : 0);
  nftnl_chain_nlmsg_build_payload(message, chain.get());
  batch.finish(message);
}

void put_counter(netlink::Batch& batch, const char* name) {
  const std::unique_ptr<nftnl_obj, decltype(&nftnl_obj_free)> counter(nftnl_obj_alloc(), nftnl_obj_free);
  nftnl_obj_set_str(counter.get(), NFTNL_OBJ_TABLE, guard_table);
  nftnl_obj_set_str(counter.get(), NFTNL_OBJ_NAME, name);
  nftnl_obj_set_u32(counter.get(), NFTNL_OBJ_TYPE, NFT_OBJECT_COUNTER);
  nlmsghdr* message = start_netdev(batch, NFT_MSG_NEWOBJ, NLM_F_CREATE);
  nftnl_obj_nlmsg_build_payload(message, counter.get());
  batch.finish(message);
}

void put_set(netlink::Batch& batch, Family family, std::uint32_t id) {
  const std::unique_ptr<nftnl_set, decltype(&nftnl_set_free)> set(nftnl_set_alloc(), nftnl_set_free);
  const std::uint32_t address = family == Family::ipv4 ? type_id::ipv4_addr : type_id::ipv6_addr;
  constexpr std::uint32_t bits_of_a_type = 6;  // how nft packs the types of a concatenation
  nftnl_set_set_str(set.get(), NFTNL_SET_TABLE, guard_table);
  nftnl_set_set_str(set.get(), NFTNL_SET_NAME, own_set(family));
  nftnl_set_set_u32(set.get(), NFTNL_SET_FAMILY, NFPROTO_NETDEV);
  nftnl_set_set_u32(set.get(), NFTNL_SET_ID, id);
  nftnl_set_set_u32(set.get(), NFTNL_SET_KEY_TYPE, (type_id::iface_index << bits_of_a_type) | address);
  nftnl_set_set_u32(set.get(), NFTNL_SET_KEY_LEN, static_cast<std::uint32_t>(4 + net::address_size(family)));
  nlmsghdr* message = start_netdev(batch, NFT_MSG_NEWSET, NLM_F_CREATE);
  nftnl_set_nlmsg_build_payload(message, set.get());
  batch.finish(message);
}

void flush_rules(netlink::Batch& batch, const char* chain) {
  nlmsghdr* message = start_netdev(batch, NFT_MSG_DELRULE, 0);
  mnl_attr_put_strz(message, NFTA_RULE_TABLE, guard_table);
  mnl_attr_put_strz(message, NFTA_RULE_CHAIN, chain);
  batch.finish(message);
}

/// One element of the set of its family, in a message that was begun.
void own_element(netlink::Batch& batch, nlmsghdr* message, std::uint32_t interface, const net::IpAddr& address) {
  mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_TABLE, guard_table);
  mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_SET, own_set(address.family()));
  nlattr* list = mnl_attr_nest_start(message, NFTA_SET_ELEM_LIST_ELEMENTS);
  nlattr* element = mnl_attr_nest_start(message, NFTA_LIST_ELEM);
  nlattr* key = mnl_attr_nest_start(message, NFTA_SET_ELEM_KEY);
  std::array<std::uint8_t, sizeof(interface) + 16> bytes{};
  std::memcpy(bytes.data(), &interface, sizeof(interface));  // meta iif is in host order
  std::memcpy(bytes.data() + sizeof(interface), address.bytes().data(), address.bytes().size());
  mnl_attr_put(message, NFTA_DATA_VALUE, sizeof(interface) + address.bytes().size(), bytes.data());
  mnl_attr_nest_end(message, key);
  mnl_attr_nest_end(message, element);
  mnl_attr_nest_end(message, list);
  batch.finish(message);
}

}  // namespace

const char* own_set(Family family) {
  return family == Family::ipv4 ? "own4" : "own6";
}

std::string device_chain(const std::string& device) {
  return std::string(device_prefix) + device;
}

nlmsghdr* start_netdev(netlink::Batch& batch, std::uint16_t type, std::uint16_t flags) {
  nlmsghdr* message = batch.start(type, flags);
  static_cast<nfgenmsg*>(mnl_nlmsg_get_payload(message))->nfgen_family = NFPROTO_NETDEV;
  return message;
}

void put_guard_table(netlink::Batch& batch) {
  nlmsghdr* message = start_netdev(batch, NFT_MSG_NEWTABLE, NLM_F_CREATE);
  mnl_attr_put_strz(message, NFTA_TABLE_NAME, guard_table);
  mnl_attr_put_u32(message, NFTA_TABLE_FLAGS, 0);
  batch.finish(message);
}

void put_guard_rules(netlink::Batch& batch, const program::Options& options) {
  for (const char* counter : {spoofed_counter, unlogged_counter}) put_counter(batch, counter);
  std::uint32_t id = 0;
  for (const Family family : net::families) put_set(batch, family, ++id);
  for (const char* chain : {spoofed_chain, guard_chain}) {
    put_chain(batch, NFT_MSG_NEWCHAIN, chain, nullptr);
    flush_rules(batch, chain);
  }
  RuleWriter(spoofed_chain).count(spoofed_counter).put(batch);
  RuleWriter(spoofed_chain).over(options.log_node_rate).count(unlogged_counter).verdict(NF_DROP).put(batch);
  RuleWriter(spoofed_chain).log(options.log_group).put(batch);
  RuleWriter(spoofed_chain).verdict(NF_DROP).put(batch);

  RuleWriter(guard_chain).ether_type(ETH_P_IP).own_address(Family::ipv4, ip4_source).verdict(NF_ACCEPT).put(batch);
  RuleWriter(guard_chain).ether_type(ETH_P_IPV6).own_address(Family::ipv6, ip6_source).verdict(NF_ACCEPT).put(batch);
  RuleWriter(guard_chain).ether_type(ETH_P_ARP).own_address(Family::ipv4, arp_sender).verdict(NF_ACCEPT).put(batch);
  RuleWriter(guard_chain).ether_type(ETH_P_ARP).arp_from_nobody().verdict(NF_ACCEPT).put(batch);
  for (const bool link_local : {true, false}) {
    RuleWriter(guard_chain).ether_type(ETH_P_IPV6).discovery(link_local).verdict(NF_ACCEPT).put(batch);
  }
  RuleWriter(guard_chain).verdict(NFT_GOTO, spoofed_chain).put(batch);
}

void flush_own(netlink::Batch& batch, Family family) {
  nlmsghdr* message = start_netdev(batch, NFT_MSG_DELSETELEM, 0);
  mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_TABLE, guard_table);
  mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_SET, own_set(family));
  batch.finish(message);
}

void put_own(netlink::Batch& batch, std::uint32_t interface, const net::IpAddr& address) {
  own_element(batch, start_netdev(batch, NFT_MSG_NEWSETELEM, NLM_F_CREATE), interface, address);
}

void delete_own(netlink::Batch& batch, std::uint32_t interface, const net::IpAddr& address) {
  own_element(batch, start_netdev(batch, NFT_MSG_DELSETELEM, 0), interface, address);
}

void put_device_chain(netlink::Batch& batch, const std::string& device) {
  put_chain(batch, NFT_MSG_NEWCHAIN, device_chain(device), device.c_str());
  RuleWriter(device_chain(device).c_str()).verdict(NFT_JUMP, guard_chain).put(batch);
}

void renew_device_rule(netlink::Batch& batch, const std::string& device) {
  flush_rules(batch, device_chain(device).c_str());
  RuleWriter(device_chain(device).c_str()).verdict(NFT_JUMP, guard_chain).put(batch);
}

void delete_device_chain(netlink::Batch& batch, const std::string& device) {
  const auto chain = device_chain(device);
  flush_rules(batch, chain.c_str());
  put_chain(batch, NFT_MSG_DELCHAIN, chain, nullptr);
}

}  // namespace podfence::link
