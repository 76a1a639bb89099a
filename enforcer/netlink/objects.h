#pragma once
// The constant part of the table: itself, named counters, sets, meters, chains and rules.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "enforcer/netlink/batch.h"
#include "policy/diff/changes.h"
#include "policy/program/rule.h"

namespace podfence::netlink {

/// What the kernel tells about a set besides its elements.
struct SetSpec {
  std::string name;
  std::uint32_t flags = 0;  // NFT_SET_*
  std::uint32_t key_type = 0;
  std::uint32_t key_size = 0;
  std::uint32_t data_type = 0;
  std::uint32_t data_size = 0;
  std::uint32_t size = 0;                  // most elements; 0 = no bound
  std::vector<std::uint32_t> field_sizes;  // of an interval concatenation, else empty
  friend bool operator==(const SetSpec&, const SetSpec&) = default;
};
/// nft packs the types of a concatenation into one number, six bits each.
inline constexpr unsigned type_bits = 6;
SetSpec spec_of(program::SetId set);
SetSpec spec_of(const program::Meter& meter);
/// See program::tally_of.
SetSpec spec_of_tally(net::Direction direction);
/// All of them, in the order in which they are made.
std::vector<SetSpec> all_sets();

/// NFT_TABLE_F_*: owned by the socket that makes it, and persistent: it outlives that socket. Since Linux 6.9.
inline constexpr std::uint32_t owned_and_persistent = 0x2 | 0x4;
inline constexpr std::uint32_t persistent = 0x4;

void put_table(Batch& batch, std::uint32_t flags, bool must_be_new);
void delete_table(Batch& batch);

/// The table and everything constant in it.
void put_constant_objects(Batch& batch, const program::Options& options, std::uint32_t table_flags);

/// Deletes a number of a tally, which must have it.
void delete_tally(Batch& batch, const program::TallyKey& key);

/// What is in a table of our name that an install is to replace.
struct Contents {
  /// Its base chain is hooked as ours and stays: only its rules are replaced, in one step for every packet. Otherwise
  /// the table goes as a whole, and for a fraction of a millisecond, between the two, packets meet the old rules with
  /// empty maps (a chain that is deleted keeps its rules until its hook is gone, nf_tables_commit_chain_prepare in
  /// net/netfilter/nf_tables_api.c): new flows that are allowed are denied then.
  bool keeps_hook = false;
  std::vector<std::string> chains;    // other than the base chain
  std::vector<std::string> sets;      // named ones, but for ours that packets fill: what they count goes on
  std::vector<std::string> counters;  // that are not ours
};

/// The whole transaction. `replaces`: nothing where there is no table.
void encode(Batch& batch, const diff::Changes& changes, const std::optional<Contents>& replaces,
            std::uint32_t table_flags);

}  // namespace podfence::netlink
