#pragma once
// Says in a Regroup who moves, when peers come and go and addresses change hands. It looks at no more addresses than it
// must: those that are named as dirty, and those that match a peer that has come. What a peer that has gone takes from
// its class, it takes from all its members alike, so nobody needs to look at these.
#include <unordered_map>
#include <vector>

#include "policy/compile/blocks.h"
#include "policy/compile/regroup.h"
#include "policy/compile/spec_index.h"

namespace podfence::compile {

class Placement {
 public:
  struct Input {
    net::Direction direction;
    const store::Cluster& cluster;
    const SpecTable& specs;
    const Blocks& blocks;  // as they are now
    const ClassTable& classes;
    const AddressTable& addresses;
    const SpecTable::Delta& delta;
    const std::vector<net::IpAddr>& dirty;  // sorted
  };
  /// `index` holds all peers that there are now.
  Placement(const Input& input, SpecIndex& index, Regroup& regroup) : in_(input), index_(index), regroup_(regroup) {}

  // In this order:
  void dirty();
  void added();
  void pieces(const std::vector<Piece>& old);  // when blocks changed
  void removed();

 private:
  /// What decides where an address goes that keeps what it matched: all with the same go together.
  struct Route {
    SlotId from;
    std::size_t piece;
    Signature added;
    friend bool operator==(const Route&, const Route&) = default;
  };
  struct RouteHash {
    std::size_t operator()(const Route& route) const noexcept;
  };

  void added_to_pods();
  void added_to_namespace(const SpecIndex::Scope& scope, const Text& name);
  void match_added(const SpecIndex::Scope& scope, const api::Pod& pod, const net::IpAddr& ip);
  void added_to_pod(const SpecIndex::Scope& scope, const api::Pod& pod, const net::IpAddr& ip);
  void added_blocks();
  void move_with(const net::IpAddr& ip, const Signature& added);
  Regroup::Target target_with(const net::IpAddr& ip, SlotId from, const Signature& added);
  void append_blocks(const net::IpAddr& ip, Signature& signature) const;
  bool is_dirty(const net::IpAddr& ip) const;
  bool is_removed(Match match) const;

  Input in_;
  SpecIndex& index_;
  Regroup& regroup_;
  SpecIndex added_;
  AddressTable placed_;  // who matched a peer that has come: has an entry
  std::unordered_map<Route, Regroup::Target, RouteHash> routes_;
  Signature matched_;               // by match_added()
  const api::Pod* like_ = nullptr;  // whose that is: pods of the same namespace that share its labels need not be asked
};

}  // namespace podfence::compile
