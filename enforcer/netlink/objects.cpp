#include "enforcer/netlink/objects.h"

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

#include <memory>

#include "enforcer/netlink/attribute.h"
#include "enforcer/netlink/element.h"
#include "enforcer/netlink/rule_codec.h"

namespace podfence::netlink {
namespace {

const std::string& table() {
  static const std::string name(program::table_name);
  return name;
}

/// nft packs the types of a concatenation into one number, six bits each.
constexpr unsigned type_bits = 6;

/// nft's notes for itself in NFTA_SET_USERDATA: type, length, number in host order. Without the byte order of the data
/// it lists classes with their bytes swapped.
void note_byte_order(nftnl_set* set, const SetSpec& spec) {
  constexpr std::uint32_t host_order = 1;
  constexpr std::uint32_t network_order = 2;
  const std::unique_ptr<nftnl_udata_buf, decltype(&nftnl_udata_buf_free)> notes(nftnl_udata_buf_alloc(64),
                                                                                nftnl_udata_buf_free);
  const bool concatenation = (spec.key_type >> type_bits) != 0;
  if (concatenation || !notes) return;
  const bool host_key = spec.key_type == type_id::iface_index;
  nftnl_udata_put_u32(notes.get(), NFTNL_UDATA_SET_KEYBYTEORDER, host_key ? host_order : network_order);
  if (spec.data_size > 0) nftnl_udata_put_u32(notes.get(), NFTNL_UDATA_SET_DATABYTEORDER, host_order);
  nftnl_set_set_data(set, NFTNL_SET_USERDATA, nftnl_udata_buf_data(notes.get()), nftnl_udata_buf_len(notes.get()));
}

void put_set(Batch& batch, const SetSpec& spec, std::uint32_t id) {
  const std::unique_ptr<nftnl_set, decltype(&nftnl_set_free)> set(nftnl_set_alloc(), nftnl_set_free);
  nftnl_set_set_str(set.get(), NFTNL_SET_TABLE, table().c_str());
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
  nlmsghdr* message = batch.start(NFT_MSG_NEWSET, NLM_F_CREATE | NLM_F_EXCL);
  nftnl_set_nlmsg_build_payload(message, set.get());
  batch.finish(message);
}

void put_counter(Batch& batch, const std::string& name) {
  const std::unique_ptr<nftnl_obj, decltype(&nftnl_obj_free)> counter(nftnl_obj_alloc(), nftnl_obj_free);
  nftnl_obj_set_str(counter.get(), NFTNL_OBJ_TABLE, table().c_str());
  nftnl_obj_set_str(counter.get(), NFTNL_OBJ_NAME, name.c_str());
  nftnl_obj_set_u32(counter.get(), NFTNL_OBJ_TYPE, NFT_OBJECT_COUNTER);
  nlmsghdr* message = batch.start(NFT_MSG_NEWOBJ, NLM_F_CREATE | NLM_F_EXCL);
  nftnl_obj_nlmsg_build_payload(message, counter.get());
  batch.finish(message);
}

void put_chain(Batch& batch, const program::Chain& chain) {
  const std::unique_ptr<nftnl_chain, decltype(&nftnl_chain_free)> made(nftnl_chain_alloc(), nftnl_chain_free);
  nftnl_chain_set_str(made.get(), NFTNL_CHAIN_TABLE, table().c_str());
  nftnl_chain_set_str(made.get(), NFTNL_CHAIN_NAME, chain.name.c_str());
  if (chain.base) {
    nftnl_chain_set_str(made.get(), NFTNL_CHAIN_TYPE, "filter");
    nftnl_chain_set_u32(made.get(), NFTNL_CHAIN_HOOKNUM, NF_INET_FORWARD);
    nftnl_chain_set_s32(made.get(), NFTNL_CHAIN_PRIO, 0);
    nftnl_chain_set_u32(made.get(), NFTNL_CHAIN_POLICY, NF_ACCEPT);
  }
  nlmsghdr* message = batch.start(NFT_MSG_NEWCHAIN, NLM_F_CREATE | NLM_F_EXCL);
  nftnl_chain_nlmsg_build_payload(message, made.get());
  batch.finish(message);
}

void put_rule(Batch& batch, const std::string& chain, const program::Rule& rule) {
  const RulePtr made = make_rule(chain, rule);
  nlmsghdr* message = batch.start(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
  nftnl_rule_nlmsg_build_payload(message, made.get());
  batch.finish(message);
}

}  // namespace

SetSpec spec_of(program::SetId set) {
  SetSpec spec;
  spec.name = name_of(set);
  const auto fields = fields_of(set);
  for (const Field& field : fields) {
    spec.key_type = (spec.key_type << type_bits) | field.type;
    spec.key_size += static_cast<std::uint32_t>(aligned(field.size));
  }
  if (is_map(set.shape)) {
    spec.flags |= NFT_SET_MAP;
    spec.data_type = type_id::classid;
    spec.data_size = sizeof(program::ClassId);
  }
  if (is_interval(set.shape)) spec.flags |= NFT_SET_INTERVAL;
  if (is_interval(set.shape) && fields.size() > 1) {
    spec.flags |= NFT_SET_CONCAT;
    for (const Field& field : fields) spec.field_sizes.push_back(field.size);
  }
  return spec;
}

SetSpec spec_of(const program::Meter& meter) {
  SetSpec spec;
  spec.name = meter.name;
  spec.flags = NFT_SET_EVAL | NFT_SET_TIMEOUT;
  spec.size = program::meter_size;
  if (meter.key == program::OverSourceRate::Key::input_interface) {
    spec.key_type = type_id::iface_index;
    spec.key_size = 4;
  } else {
    spec.key_type = meter.family == net::Family::ipv4 ? type_id::ipv4_addr : type_id::ipv6_addr;
    spec.key_size = static_cast<std::uint32_t>(net::address_size(meter.family));
  }
  return spec;
}

std::vector<SetSpec> all_sets() {
  std::vector<SetSpec> specs;
  for (std::size_t i = 0; i < program::set_count; ++i) specs.push_back(spec_of(program::set_at(i)));
  for (const auto& meter : program::meters()) specs.push_back(spec_of(meter));
  return specs;
}

void put_table(Batch& batch, std::uint32_t flags, bool must_be_new) {
  nlmsghdr* message = batch.start(NFT_MSG_NEWTABLE, must_be_new ? NLM_F_CREATE | NLM_F_EXCL : NLM_F_CREATE);
  mnl_attr_put_strz(message, NFTA_TABLE_NAME, table().c_str());
  mnl_attr_put_u32(message, NFTA_TABLE_FLAGS, htonl(flags));
  batch.finish(message);
}

void delete_table(Batch& batch) {
  nlmsghdr* message = batch.start(NFT_MSG_DELTABLE, 0);
  mnl_attr_put_strz(message, NFTA_TABLE_NAME, table().c_str());
  batch.finish(message);
}

void put_constant_objects(Batch& batch, const program::Options& options, std::uint32_t table_flags) {
  put_table(batch, table_flags, true);
  for (const auto& name : program::counter_names()) put_counter(batch, name);
  std::uint32_t id = 0;
  for (const SetSpec& spec : all_sets()) put_set(batch, spec, ++id);
  const auto chains = program::chains(options);
  for (const auto& chain : chains) put_chain(batch, chain);
  for (const auto& chain : chains) {
    for (const auto& rule : chain.rules) put_rule(batch, chain.name, rule);
  }
}

void encode(Batch& batch, const diff::Changes& changes, bool replaces, std::uint32_t table_flags) {
  if (changes.install) {
    if (replaces) delete_table(batch);
    put_constant_objects(batch, changes.options, table_flags);
  }
  for (const auto& [set, change] : changes.sets) batch.put_elements(set, change.removed, true);
  for (const auto& [set, change] : changes.sets) batch.put_elements(set, change.added, false);
}

}  // namespace podfence::netlink
