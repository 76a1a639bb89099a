#include "enforcer/netlink/objects.h"

// Before linux/netfilter.h, which has names of its own for the same things.

#include <linux/netfilter/nf_tables.h>

#include "enforcer/netlink/attribute.h"
#include "enforcer/netlink/element.h"
#include "enforcer/netlink/table_writer.h"

namespace podfence::netlink {
namespace {

TableWriter writer(Batch& batch, bool must_be_new) {
  return {batch, std::string(program::table_name), must_be_new};
}

void put_objects(TableWriter& table, const program::Options& options, bool with_base_chain) {
  for (const auto& name : program::counter_names()) table.put_counter(name);
  std::uint32_t id = 0;
  for (const SetSpec& spec : all_sets()) table.put_set(spec, ++id);
  const auto chains = program::chains(options);
  for (const auto& chain : chains) {
    if (with_base_chain || !chain.base) table.put_chain(chain, 0);
  }
  for (const auto& chain : chains) {
    for (const auto& rule : chain.rules) table.put_rule(chain.name, rule);
  }
}

/// All but the base chain and our counters. Rules first, then sets, whose elements may name chains: they hold them.
void clear(TableWriter& table, const Contents& contents) {
  table.flush_rules(std::string(program::base_chain_name));
  for (const auto& chain : contents.chains) table.flush_rules(chain);
  for (const auto& set : contents.sets) table.delete_set(set);
  for (const auto& chain : contents.chains) table.delete_chain(chain);
  for (const auto& counter : contents.counters) table.delete_counter(counter);
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

SetSpec spec_of_tally(net::Direction direction) {
  SetSpec spec;
  spec.name = program::tally_of(direction);
  spec.flags = NFT_SET_EVAL;
  spec.size = program::tally_size;
  spec.key_type = type_id::classid;
  spec.key_size = sizeof(program::ClassId);
  return spec;
}

std::vector<SetSpec> all_sets() {
  std::vector<SetSpec> specs;
  for (std::size_t i = 0; i < program::set_count; ++i) specs.push_back(spec_of(program::set_at(i)));
  for (const auto& meter : program::meters()) specs.push_back(spec_of(meter));
  for (const auto direction : net::directions) specs.push_back(spec_of_tally(direction));
  return specs;
}

void put_table(Batch& batch, std::uint32_t flags, bool must_be_new) {
  writer(batch, must_be_new).put_table(flags);
}

void delete_table(Batch& batch) {
  writer(batch, true).delete_table();
}

void delete_tally(Batch& batch, const program::TallyKey& key) {
  writer(batch, false).delete_element(program::tally_of(key.first), key.second);
}

void put_constant_objects(Batch& batch, const program::Options& options, std::uint32_t table_flags) {
  auto table = writer(batch, true);
  table.put_table(table_flags);
  put_objects(table, options, true);
}

void encode(Batch& batch, const diff::Changes& changes, const std::optional<Contents>& replaces,
            std::uint32_t table_flags) {
  if (changes.install && replaces && replaces->keeps_hook) {
    auto table = writer(batch, false);
    clear(table, *replaces);
    put_objects(table, changes.options, false);
  } else if (changes.install) {
    if (replaces) delete_table(batch);
    put_constant_objects(batch, changes.options, table_flags);
  }
  for (const auto& [set, change] : changes.sets) batch.put_elements(set, change.removed, true);
  for (const auto& [set, change] : changes.sets) batch.put_elements(set, change.added, false);
}

}  // namespace podfence::netlink
