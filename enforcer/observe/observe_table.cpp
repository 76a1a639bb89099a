#include "enforcer/observe/observe_table.h"

// Before linux/netfilter.h, which has names of its own for the same things.
#include <netinet/in.h>

#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>

#include <cerrno>

#include "enforcer/netlink/dump.h"
#include "enforcer/netlink/element.h"
#include "enforcer/netlink/table_writer.h"
#include "enforcer/netlink/transaction.h"

namespace podfence::observe {
namespace {

using netlink::Batch;

constexpr int commit_attempts = 10;
constexpr std::size_t elements_of_a_message = 512;

const std::string& table() {
  static const std::string name(program::observe_table_name);
  return name;
}

netlink::SetSpec observed_spec(net::Family family) {
  netlink::SetSpec spec;
  spec.name = program::observed_set(family);
  spec.key_type = family == net::Family::ipv4 ? netlink::type_id::ipv4_addr : netlink::type_id::ipv6_addr;
  spec.key_size = static_cast<std::uint32_t>(net::address_size(family));
  return spec;
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

}  // namespace

Result<ObserveTable> ObserveTable::open(const program::ObserveOptions& options) {
  auto socket = netlink::Socket::open(NETLINK_NETFILTER);
  if (!socket) return fail(socket.error());
  return ObserveTable(std::move(*socket), options);
}

/// Rules before the chains that they jump to are gone: all are flushed first.
void ObserveTable::encode(const std::vector<net::IpAddr>& addresses) {
  batch_.clear();
  netlink::TableWriter out(batch_, table(), false);
  out.put_table(0);
  for (const auto& name : program::observe_counter_names()) out.put_counter(name);
  std::uint32_t id = 0;
  for (const auto family : net::families) out.put_set(observed_spec(family), ++id);
  for (const auto& meter : program::observe_meters()) out.put_set(netlink::spec_of(meter), ++id);
  const auto chains = program::observe_chains(options_);
  for (const auto& chain : chains) out.put_chain(chain, program::observe_priority);
  for (const auto& chain : chains) out.flush_rules(chain.name);
  for (const auto family : net::families) {
    std::vector<net::IpAddr> of_family;
    for (const auto& ip : addresses) {
      if (ip.family() == family) of_family.push_back(ip);
    }
    out.flush_set(program::observed_set(family));
    put_elements(batch_, program::observed_set(family), of_family);
  }
  for (const auto& chain : chains) {
    if (chain.base && addresses.empty()) {
      out.delete_chain(chain.name);
      continue;
    }
    for (const auto& rule : chain.rules) out.put_rule(chain.name, rule);
  }
}

Result<> ObserveTable::set(const std::vector<net::IpAddr>& addresses) {
  encode(addresses);
  return send();
}

Result<> ObserveTable::purge() {
  batch_.clear();
  netlink::TableWriter out(batch_, table(), false);
  out.put_table(0);  // so that there is one to delete
  out.delete_table();
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
  const auto dumped = netlink::dump_counters(socket_, table());
  if (!dumped) return fail(dumped.error());
  std::map<std::string, std::uint64_t> packets;
  for (const auto& [name, value] : *dumped) packets.emplace(name, value.packets);
  return packets;
}

}  // namespace podfence::observe
