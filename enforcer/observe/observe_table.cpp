#include "enforcer/observe/observe_table.h"

// Before linux/netfilter.h, which has names of its own for the same things.
#include <netinet/in.h>

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <libnftnl/chain.h>
#include <libnftnl/object.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <array>
#include <cerrno>
#include <memory>

#include "enforcer/netlink/attribute.h"
#include "enforcer/netlink/element.h"
#include "enforcer/netlink/objects.h"
#include "enforcer/netlink/rule_codec.h"
#include "enforcer/netlink/transaction.h"

namespace podfence::observe {
namespace {

using netlink::Attribute;
using netlink::Batch;
using program::Chain;

constexpr int commit_attempts = 10;
constexpr std::size_t elements_of_a_message = 512;

const std::string& table() {
  static const std::string name(program::observe_table_name);
  return name;
}

void put_table(Batch& batch) {
  nlmsghdr* message = batch.start(NFT_MSG_NEWTABLE, NLM_F_CREATE);
  mnl_attr_put_strz(message, NFTA_TABLE_NAME, table().c_str());
  mnl_attr_put_u32(message, NFTA_TABLE_FLAGS, 0);
  batch.finish(message);
}

void put_counter(Batch& batch, const std::string& name) {
  const std::unique_ptr<nftnl_obj, decltype(&nftnl_obj_free)> counter(nftnl_obj_alloc(), nftnl_obj_free);
  nftnl_obj_set_str(counter.get(), NFTNL_OBJ_TABLE, table().c_str());
  nftnl_obj_set_str(counter.get(), NFTNL_OBJ_NAME, name.c_str());
  nftnl_obj_set_u32(counter.get(), NFTNL_OBJ_TYPE, NFT_OBJECT_COUNTER);
  nlmsghdr* message = batch.start(NFT_MSG_NEWOBJ, NLM_F_CREATE);
  nftnl_obj_nlmsg_build_payload(message, counter.get());
  batch.finish(message);
}

netlink::SetSpec observed_spec(net::Family family) {
  netlink::SetSpec spec;
  spec.name = program::observed_set(family);
  spec.key_type = family == net::Family::ipv4 ? netlink::type_id::ipv4_addr : netlink::type_id::ipv6_addr;
  spec.key_size = static_cast<std::uint32_t>(net::address_size(family));
  return spec;
}

void put_set(Batch& batch, const netlink::SetSpec& spec, std::uint32_t id) {
  const std::unique_ptr<nftnl_set, decltype(&nftnl_set_free)> set(nftnl_set_alloc(), nftnl_set_free);
  nftnl_set_set_str(set.get(), NFTNL_SET_TABLE, table().c_str());
  nftnl_set_set_str(set.get(), NFTNL_SET_NAME, spec.name.c_str());
  nftnl_set_set_u32(set.get(), NFTNL_SET_ID, id);
  nftnl_set_set_u32(set.get(), NFTNL_SET_FLAGS, spec.flags);
  nftnl_set_set_u32(set.get(), NFTNL_SET_KEY_TYPE, spec.key_type);
  nftnl_set_set_u32(set.get(), NFTNL_SET_KEY_LEN, spec.key_size);
  if (spec.size > 0) nftnl_set_set_u32(set.get(), NFTNL_SET_DESC_SIZE, spec.size);
  nlmsghdr* message = batch.start(NFT_MSG_NEWSET, NLM_F_CREATE);
  nftnl_set_nlmsg_build_payload(message, set.get());
  batch.finish(message);
}

void flush_set(Batch& batch, const std::string& set) {
  nlmsghdr* message = batch.start(NFT_MSG_DELSETELEM, 0);
  mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_TABLE, table().c_str());
  mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_SET, set.c_str());
  batch.finish(message);
}

void put_elements(Batch& batch, const std::string& set, const std::vector<net::IpAddr>& addresses) {
  for (std::size_t i = 0; i < addresses.size();) {
    nlmsghdr* message = batch.start(NFT_MSG_NEWSETELEM, NLM_F_CREATE);
    mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_TABLE, table().c_str());
    mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_SET, set.c_str());
    nlattr* list = mnl_attr_nest_start(message, NFTA_SET_ELEM_LIST_ELEMENTS);
    for (std::size_t n = 0; n < elements_of_a_message && i < addresses.size(); ++n, ++i) {
      nlattr* element = mnl_attr_nest_start(message, NFTA_LIST_ELEM);
      nlattr* key = mnl_attr_nest_start(message, NFTA_SET_ELEM_KEY);
      const auto bytes = addresses[i].bytes();
      mnl_attr_put(message, NFTA_DATA_VALUE, bytes.size(), bytes.data());
      mnl_attr_nest_end(message, key);
      mnl_attr_nest_end(message, element);
    }
    mnl_attr_nest_end(message, list);
    batch.finish(message);
  }
}

void put_chain(Batch& batch, const Chain& chain, std::uint16_t type) {
  const std::unique_ptr<nftnl_chain, decltype(&nftnl_chain_free)> made(nftnl_chain_alloc(), nftnl_chain_free);
  nftnl_chain_set_str(made.get(), NFTNL_CHAIN_TABLE, table().c_str());
  nftnl_chain_set_str(made.get(), NFTNL_CHAIN_NAME, chain.name.c_str());
  const bool makes = type == NFT_MSG_NEWCHAIN;
  if (chain.base && makes) {
    nftnl_chain_set_str(made.get(), NFTNL_CHAIN_TYPE, "filter");
    nftnl_chain_set_u32(made.get(), NFTNL_CHAIN_HOOKNUM, NF_INET_FORWARD);
    nftnl_chain_set_s32(made.get(), NFTNL_CHAIN_PRIO, program::observe_priority);
    nftnl_chain_set_u32(made.get(), NFTNL_CHAIN_POLICY, NF_ACCEPT);
  }
  nlmsghdr* message = batch.start(type, makes ? NLM_F_CREATE : 0);
  nftnl_chain_nlmsg_build_payload(message, made.get());
  batch.finish(message);
}

void flush_rules(Batch& batch, const std::string& chain) {
  nlmsghdr* message = batch.start(NFT_MSG_DELRULE, 0);
  mnl_attr_put_strz(message, NFTA_RULE_TABLE, table().c_str());
  mnl_attr_put_strz(message, NFTA_RULE_CHAIN, chain.c_str());
  batch.finish(message);
}

void put_rule(Batch& batch, const std::string& chain, const program::Rule& rule) {
  const netlink::RulePtr made = netlink::make_rule(chain, rule);
  nftnl_rule_set_str(made.get(), NFTNL_RULE_TABLE, table().c_str());
  nlmsghdr* message = batch.start(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
  nftnl_rule_nlmsg_build_payload(message, made.get());
  batch.finish(message);
}

std::uint64_t packets_in(const Attribute& data) {
  std::uint64_t packets = 0;
  netlink::for_each_attribute(data.value, [&](const Attribute& a) {
    if (a.type != NFTA_COUNTER_PACKETS) return;
    Cursor cursor(a.value);
    const auto high = cursor.take_be32();
    const auto low = cursor.take_be32();
    if (high && low) packets = (std::uint64_t{*high} << 32U) | *low;
  });
  return packets;
}

}  // namespace

Result<ObserveTable> ObserveTable::open(const program::ObserveOptions& options) {
  auto socket = netlink::Socket::open(NETLINK_NETFILTER);
  if (!socket) return fail(socket.error());
  return ObserveTable(std::move(*socket), options);
}

/// Rules before the chains that they jump to are gone: all are flushed first.
void ObserveTable::encode(const std::vector<net::IpAddr>& addresses) {
  batch_.clear();
  put_table(batch_);
  for (const auto& name : program::observe_counter_names()) put_counter(batch_, name);
  std::uint32_t id = 0;
  for (const auto family : net::families) put_set(batch_, observed_spec(family), ++id);
  for (const auto& meter : program::observe_meters()) put_set(batch_, netlink::spec_of(meter), ++id);
  const auto chains = program::observe_chains(options_);
  for (const auto& chain : chains) put_chain(batch_, chain, NFT_MSG_NEWCHAIN);
  for (const auto& chain : chains) flush_rules(batch_, chain.name);
  for (const auto family : net::families) {
    std::vector<net::IpAddr> of_family;
    for (const auto& ip : addresses) {
      if (ip.family() == family) of_family.push_back(ip);
    }
    flush_set(batch_, program::observed_set(family));
    put_elements(batch_, program::observed_set(family), of_family);
  }
  for (const auto& chain : chains) {
    if (chain.base && addresses.empty()) {
      put_chain(batch_, chain, NFT_MSG_DELCHAIN);
      continue;
    }
    for (const auto& rule : chain.rules) put_rule(batch_, chain.name, rule);
  }
}

Result<> ObserveTable::set(const std::vector<net::IpAddr>& addresses) {
  encode(addresses);
  return send();
}

Result<> ObserveTable::purge() {
  batch_.clear();
  put_table(batch_);  // so that there is one to delete
  nlmsghdr* message = batch_.start(NFT_MSG_DELTABLE, 0);
  mnl_attr_put_strz(message, NFTA_TABLE_NAME, table().c_str());
  batch_.finish(message);
  return send();
}

Result<> ObserveTable::send() {
  for (int attempt = 1;; ++attempt) {
    const auto generation = netlink::generation(socket_);
    if (!generation) return fail(generation.error());
    const auto refused = netlink::send_batch(socket_, batch_, *generation);
    if (!refused) return fail(Error(refused.error()).in("table inet podfence_observe"));
    if (refused->empty()) return {};
    const auto& first = refused->front();
    if (first.error != ERESTART || attempt == commit_attempts) {
      return fail(netlink::errc_of(first.error), "table inet podfence_observe: " + netlink::describe(first));
    }
  }
}

Result<std::map<std::string, std::uint64_t>> ObserveTable::counters() {
  std::map<std::string, std::uint64_t> packets;
  alignas(nlmsghdr) std::array<char, 256> buffer{};
  nlmsghdr* message = mnl_nlmsg_put_header(buffer.data());
  message->nlmsg_type = (NFNL_SUBSYS_NFTABLES << 8U) | NFT_MSG_GETOBJ;
  message->nlmsg_flags = NLM_F_DUMP;
  auto* extra = static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(message, sizeof(nfgenmsg)));
  extra->nfgen_family = NFPROTO_INET;
  extra->version = NFNETLINK_V0;
  extra->res_id = 0;
  auto done = socket_.dump(message, [&](const nlmsghdr* answer) {
    std::string_view of;
    std::string_view name;
    std::uint64_t count = 0;
    netlink::for_each_attribute(netlink::attributes_of(answer, sizeof(nfgenmsg)), [&](const Attribute& a) {
      if (a.type == NFTA_OBJ_TABLE) of = a.text();
      if (a.type == NFTA_OBJ_NAME) name = a.text();
      if (a.type == NFTA_OBJ_DATA) count = packets_in(a);
    });
    if (of == table()) packets.emplace(name, count);
  });
  if (!done) return fail(done.error());
  return packets;
}

}  // namespace podfence::observe
