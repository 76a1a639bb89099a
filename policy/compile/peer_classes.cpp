#include "policy/compile/peer_classes.h"

#include <algorithm>
#include <functional>
#include <map>
#include <tuple>
#include <unordered_set>

#include "policy/compile/placement.h"

namespace podfence::compile {

using program::Shape;

std::vector<SlotId> PeerClasses::update(const store::Cluster& cluster, const std::vector<net::IpAddr>& dirty,
                                        ChangeSink& sink) {
  const SpecTable::Delta delta = specs_.take_delta();
  if (delta.empty() && dirty.empty()) return {};
  for (const SpecId id : delta.removed) index_.remove(id, specs_.at(id));
  for (const SpecId id : delta.added) index_.add(id, specs_.at(id));
  std::vector<Piece> old_pieces;
  if (delta.has_blocks()) old_pieces = blocks_.change(specs_, delta);

  Regroup regroup(classes_);
  Placement place({direction_, cluster, specs_, blocks_, classes_, addresses_, delta, dirty}, index_, regroup);
  place.dirty();
  place.added();
  if (delta.has_blocks()) place.pieces(old_pieces);
  place.removed();
  Regroup::Outcome outcome = regroup.finish();
  write(regroup, outcome, sink);
  if (delta.has_blocks()) write_pieces(old_pieces, sink);
  specs_.forget(delta);
  return std::move(outcome.changed);
}

void PeerClasses::put(const net::IpAddr& ip, SlotId from, SlotId to, ChangeSink& sink) {
  if (from == to) return;
  const program::SetId peers = set(Shape::peer_class, ip.family());
  if (from != 0) sink.remove(peers, peer_element(ip, classes_.at(from).number));
  if (to != 0) sink.add(peers, peer_element(ip, classes_.at(to).number));
  addresses_.set(ip, direction_, to);
}

void PeerClasses::write(const Regroup& regroup, const Regroup::Outcome& outcome, ChangeSink& sink) {
  // The displaced first, while whoever moved still stands where it was.
  if (!outcome.displaced.empty()) {
    AddressTable moved;
    for (const Regroup::Moved& m : regroup.moved()) moved.set(m.ip, direction_, 1);
    std::vector<std::tuple<net::IpAddr, SlotId, SlotId>> rest;
    addresses_.for_each([&](const net::IpAddr& ip, const AddressTable::Slots& slots) {
      const SlotId from = slots[index_of(direction_)];
      const auto found = outcome.displaced.find(from);
      if (found != outcome.displaced.end() && moved.get(ip, direction_) == 0)
        rest.emplace_back(ip, from, found->second);
    });
    for (const auto& [ip, from, to] : rest) put(ip, from, to, sink);
  }
  for (const Regroup::Moved& m : regroup.moved()) put(m.ip, m.from, outcome.slot_of[m.to], sink);
}

void PeerClasses::write_pieces(const std::vector<Piece>& old, ChangeSink& sink) {
  for (const Piece& piece : old) {
    const auto family = piece.range.first.family();
    sink.remove(set(Shape::cidr_class, family), range_element(piece.range, classes_.at(piece.slot).number));
  }
  for (Piece& piece : blocks_.pieces()) {
    piece.slot = classes_.find(piece.signature);
    const auto family = piece.range.first.family();
    sink.add(set(Shape::cidr_class, family), range_element(piece.range, classes_.at(piece.slot).number));
  }
}

void PeerClasses::append_to(program::Program& program) const {
  for (const Piece& piece : blocks_.pieces()) {
    program.at(set(Shape::cidr_class, piece.range.first.family()))
        .push_back(range_element(piece.range, classes_.at(piece.slot).number));
  }
  addresses_.for_each([&](const net::IpAddr& ip, const AddressTable::Slots& slots) {
    const SlotId slot = slots[index_of(direction_)];
    if (slot != 0) {
      program.at(set(Shape::peer_class, ip.family())).push_back(peer_element(ip, classes_.at(slot).number));
    }
  });
}

std::size_t PeerClasses::adopt(const program::Program& kernel) {
  std::map<std::pair<SlotId, program::ClassId>, std::size_t> members;
  std::unordered_set<program::ClassId> taken;
  for (const net::Family family : net::families) {
    for (const auto& element : kernel.at(set(Shape::peer_class, family))) {
      taken.insert(element.class_id);
      if (const SlotId slot = addresses_.get(element.address, direction_)) ++members[{slot, element.class_id}];
    }
    for (const auto& element : kernel.at(set(Shape::cidr_class, family))) {
      taken.insert(element.class_id);
      const std::size_t piece = blocks_.find(element.address);
      if (piece != Blocks::npos) ++members[{blocks_.pieces()[piece].slot, element.class_id}];
    }
  }
  std::vector<std::tuple<std::size_t, SlotId, program::ClassId>> counts;
  counts.reserve(members.size());
  for (const auto& [pair, count] : members) counts.emplace_back(count, pair.first, pair.second);
  std::sort(counts.begin(), counts.end(), std::greater<>());
  std::vector<std::pair<SlotId, program::ClassId>> wanted;
  std::unordered_set<SlotId> has_number;
  std::unordered_set<program::ClassId> given;
  for (const auto& [count, slot, number] : counts) {
    const bool usable = number >= program::first_class && number != 0xffffffffU;
    if (!usable || has_number.count(slot) > 0 || given.count(number) > 0) continue;
    has_number.insert(slot);
    given.insert(number);
    wanted.emplace_back(slot, number);
  }
  classes_.renumber(wanted, taken);
  return wanted.size();
}

}  // namespace podfence::compile
