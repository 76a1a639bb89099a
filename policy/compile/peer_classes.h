#pragma once
// The remote side of one direction: which class every address of the world carries. It is told which peers the relevant
// policies name and which addresses may have another owner, or an owner with other labels, and moves just those.
#include <vector>

#include "policy/compile/blocks.h"
#include "policy/compile/change_sink.h"
#include "policy/compile/class_table.h"
#include "policy/compile/regroup.h"
#include "policy/compile/spec_index.h"

namespace podfence::compile {

class PeerClasses {
 public:
  PeerClasses(net::Direction direction, AddressTable& addresses) : direction_(direction), addresses_(addresses) {}

  SpecTable& specs() { return specs_; }
  const SpecTable& specs() const { return specs_; }
  const ClassTable& classes() const { return classes_; }
  void forget_namespace(const std::string& name) { index_.forget_namespace(name); }

  /// Brings all classes up to date: with what was acquired and released in specs(), and with `dirty` (sorted, unique).
  /// Returns the classes that are new, gone, or have another signature or families, for whoever has tuples of them.
  std::vector<SlotId> update(const store::Cluster& cluster, const std::vector<net::IpAddr>& dirty, ChangeSink& sink);
  /// After the tuples of the classes that are gone were removed.
  void reclaim() { classes_.reclaim(); }

  /// Appends to cidr_class and peer_class.
  void append_to(program::Program& program) const;
  /// Takes over the numbers of a program; returns how many classes have one of them now.
  std::size_t adopt(const program::Program& kernel);

 private:
  void write(const Regroup& regroup, const Regroup::Outcome& outcome, ChangeSink& sink);
  void write_pieces(const std::vector<Piece>& old, ChangeSink& sink);
  void put(const net::IpAddr& ip, SlotId from, SlotId to, ChangeSink& sink);
  program::SetId set(program::Shape shape, net::Family family) const { return {shape, direction_, family}; }

  net::Direction direction_;
  AddressTable& addresses_;
  SpecTable specs_;
  SpecIndex index_;
  Blocks blocks_;
  ClassTable classes_;
};

}  // namespace podfence::compile
