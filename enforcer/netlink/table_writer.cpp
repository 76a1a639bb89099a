#include "enforcer/netlink/table_writer.h"

// Before linux/netfilter.h, which has names of its own for the same things.
#include <arpa/inet.h>

#include <libmnl/libmnl.h>
#include <libnftnl/chain.h>
#include <libnftnl/object.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>

#include <memory>

#include "enforcer/netlink/element.h"
#include "enforcer/netlink/rule_codec.h"

namespace podfence::netlink {
namespace {

/// nft's notes for itself in NFTA_SET_USERDATA: type, length, number in host order. Without the byte order of the data
/// it lists classes with their bytes swapped.
void note_byte_order(nftnl_set* set, const SetSpec& spec) {
  constexpr std::uint32_t host_order = 1;
  constexpr std::uint32_t network_order = 2;
  const std::unique_ptr<nftnl_udata_buf, decltype(&nftnl_udata_buf_free)> notes(nftnl_udata_buf_alloc(64),
                                                                                nftnl_udata_buf_free);
  const bool concatenation = (spec.key_type >> type_bits) != 0;
  if (concatenation || !notes) return;
  const bool host_key = spec.key_type == type_id::iface_index || spec.key_type == type_id::classid;
  nftnl_udata_put_u32(notes.get(), NFTNL_UDATA_SET_KEYBYTEORDER, host_key ? host_order : network_order);
  if (spec.data_size > 0) nftnl_udata_put_u32(notes.get(), NFTNL_UDATA_SET_DATABYTEORDER, host_order);
  nftnl_set_set_data(set, NFTNL_SET_USERDATA, nftnl_udata_buf_data(notes.get()), nftnl_udata_buf_len(notes.get()));
}

}  // namespace

TableWriter::TableWriter(Batch& batch, std::string table, bool must_be_new)
    : batch_(batch),
      table_(std::move(table)),
      create_(static_cast<std::uint16_t>(must_be_new ? NLM_F_CREATE | NLM_F_EXCL : NLM_F_CREATE)) {}

void TableWriter::put_table(std::uint32_t flags) {
  nlmsghdr* message = batch_.start(NFT_MSG_NEWTABLE, create_);
  mnl_attr_put_strz(message, NFTA_TABLE_NAME, table_.c_str());
  mnl_attr_put_u32(message, NFTA_TABLE_FLAGS, htonl(flags));
  batch_.finish(message);
}

void TableWriter::delete_table() {
  nlmsghdr* message = batch_.start(NFT_MSG_DELTABLE, 0);
  mnl_attr_put_strz(message, NFTA_TABLE_NAME, table_.c_str());
  batch_.finish(message);
}

void TableWriter::put_counter(const std::string& name) {
  const std::unique_ptr<nftnl_obj, decltype(&nftnl_obj_free)> counter(nftnl_obj_alloc(), nftnl_obj_free);
  nftnl_obj_set_str(counter.get(), NFTNL_OBJ_TABLE, table_.c_str());
  nftnl_obj_set_str(counter.get(), NFTNL_OBJ_NAME, name.c_str());
  nftnl_obj_set_u32(counter.get(), NFTNL_OBJ_TYPE, NFT_OBJECT_COUNTER);
  nlmsghdr* message = batch_.start(NFT_MSG_NEWOBJ, create_);
  nftnl_obj_nlmsg_build_payload(message, counter.get());
  batch_.finish(message);
}

void TableWriter::put_set(const SetSpec& spec, std::uint32_t id) {
  const std::unique_ptr<nftnl_set, decltype(&nftnl_set_free)> set(nftnl_set_alloc(), nftnl_set_free);
  nftnl_set_set_str(set.get(), NFTNL_SET_TABLE, table_.c_str());
  nftnl_set_set_str(set.get(), NFTNL_SET_NAME, spec.name.c_str());
  nftnl_set_set_u32(set.get(), NFTNL_SET_ID, id);
  nftnl_set_set_u32(set.get(), NFTNL_SET_FLAGS, spec.flags);
  nftnl_set_set_u32(set.get(), NFTNL_SET_KEY_TYPE, spec.key_type);
  nftnl_set_set_u32(set.get(), NFTNL_SET_KEY_LEN, spec.key_size);
  if (spec.data_size > 0) {
    nftnl_set_set_u32(set.get(), NFTNL_SET_DATA_TYPE, spec.data_type);
    nftnl_set_set_u32(set.get(), NFTNL_SET_DATA_LEN, spec.data_size);
  }
  if (spec.size > 0) nftnl_set_set_u32(set.get(), NFTNL_SET_DESC_SIZE, spec.size);
  if (!spec.field_sizes.empty()) {
    std::vector<std::uint8_t> sizes;
    for (const auto size : spec.field_sizes) sizes.push_back(static_cast<std::uint8_t>(size));
    nftnl_set_set_data(set.get(), NFTNL_SET_DESC_CONCAT, sizes.data(), static_cast<std::uint32_t>(sizes.size()));
  }
  note_byte_order(set.get(), spec);
  nlmsghdr* message = batch_.start(NFT_MSG_NEWSET, create_);
  nftnl_set_nlmsg_build_payload(message, set.get());
  batch_.finish(message);
}

void TableWriter::put_chain(const program::Chain& chain, std::int32_t priority) {
  const std::unique_ptr<nftnl_chain, decltype(&nftnl_chain_free)> made(nftnl_chain_alloc(), nftnl_chain_free);
  nftnl_chain_set_str(made.get(), NFTNL_CHAIN_TABLE, table_.c_str());
  nftnl_chain_set_str(made.get(), NFTNL_CHAIN_NAME, chain.name.c_str());
  if (chain.base) {
    nftnl_chain_set_str(made.get(), NFTNL_CHAIN_TYPE, "filter");
    nftnl_chain_set_u32(made.get(), NFTNL_CHAIN_HOOKNUM, NF_INET_FORWARD);
    nftnl_chain_set_s32(made.get(), NFTNL_CHAIN_PRIO, priority);
    nftnl_chain_set_u32(made.get(), NFTNL_CHAIN_POLICY, NF_ACCEPT);
  }
  nlmsghdr* message = batch_.start(NFT_MSG_NEWCHAIN, create_);
  nftnl_chain_nlmsg_build_payload(message, made.get());
  batch_.finish(message);
}

void TableWriter::put_rule(const std::string& chain, const program::Rule& rule) {
  const RulePtr made = make_rule(chain, rule);
  nftnl_rule_set_str(made.get(), NFTNL_RULE_TABLE, table_.c_str());
  nlmsghdr* message = batch_.start(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
  nftnl_rule_nlmsg_build_payload(message, made.get());
  batch_.finish(message);
}

nlmsghdr* TableWriter::start_removal(std::uint16_t type, Place place, const std::string& name) {
  nlmsghdr* message = batch_.start(type, 0);
  mnl_attr_put_strz(message, place.table, table_.c_str());
  mnl_attr_put_strz(message, place.name, name.c_str());
  return message;
}

void TableWriter::delete_chain(const std::string& chain) {
  batch_.finish(start_removal(NFT_MSG_DELCHAIN, {NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME}, chain));
}

void TableWriter::flush_rules(const std::string& chain) {
  batch_.finish(start_removal(NFT_MSG_DELRULE, {NFTA_RULE_TABLE, NFTA_RULE_CHAIN}, chain));
}

void TableWriter::flush_set(const std::string& set) {
  batch_.finish(start_removal(NFT_MSG_DELSETELEM, {NFTA_SET_ELEM_LIST_TABLE, NFTA_SET_ELEM_LIST_SET}, set));
}

void TableWriter::delete_set(const std::string& set) {
  batch_.finish(start_removal(NFT_MSG_DELSET, {NFTA_SET_TABLE, NFTA_SET_NAME}, set));
}

void TableWriter::delete_counter(const std::string& name) {
  nlmsghdr* message = start_removal(NFT_MSG_DELOBJ, {NFTA_OBJ_TABLE, NFTA_OBJ_NAME}, name);
  mnl_attr_put_u32(message, NFTA_OBJ_TYPE, htonl(NFT_OBJECT_COUNTER));
  batch_.finish(message);
}

void TableWriter::delete_element(const std::string& set, std::uint32_t key) {
  nlmsghdr* message = start_removal(NFT_MSG_DELSETELEM, {NFTA_SET_ELEM_LIST_TABLE, NFTA_SET_ELEM_LIST_SET}, set);
  nlattr* list = mnl_attr_nest_start(message, NFTA_SET_ELEM_LIST_ELEMENTS);
  nlattr* element = mnl_attr_nest_start(message, NFTA_LIST_ELEM);
  nlattr* value = mnl_attr_nest_start(message, NFTA_SET_ELEM_KEY);
  mnl_attr_put(message, NFTA_DATA_VALUE, sizeof(key), &key);
  mnl_attr_nest_end(message, value);
  mnl_attr_nest_end(message, element);
  mnl_attr_nest_end(message, list);
  batch_.finish(message);
}

}  // namespace podfence::netlink
