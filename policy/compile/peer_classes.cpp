#include "policy/compile/peer_classes.h"

#include <algorithm>
#include <map>
#include <unordered_set>

namespace podfence::compile {
namespace {

using program::Shape;

void sort_unique(Signature& signature) {
  std::sort(signature.begin(), signature.end());
  signature.erase(std::unique(signature.begin(), signature.end()), signature.end());
}

bool is_in(const std::vector<SpecId>& sorted, SpecId id) {
  return std::binary_search(sorted.begin(), sorted.end(), id);
}

/// Of a signature, the part that is about pods, without the peers that are gone.
Signature pod_part(const Signature& signature, const std::vector<SpecId>& removed) {
  Signature part;
  for (const Match match : signature) {
    if (!is_block(spec_of(match)) && !is_in(removed, spec_of(match))) part.push_back(match);
  }
  return part;
}

/// What decides where an address goes that keeps what it matched: all with the same go together.
struct Route {
  SlotId from;
  std::size_t piece;  // of blocks
  Signature added;
  friend bool operator==(const Route&, const Route&) = default;
};

struct RouteHash {
  std::size_t operator()(const Route& route) const noexcept {
    return SignatureHash{}(route.added) ^ ((std::size_t{route.from} << 32U) + route.piece) * 0x9e3779b97f4a7c15ULL;
  }
};

}  // namespace

struct PeerClasses::Batch {
  const store::Cluster& cluster;
  const std::vector<net::IpAddr>& dirty;
  SpecTable::Delta delta;
  std::vector<Piece> old_pieces;
  Regroup regroup;
  std::unordered_map<Route, Regroup::Target, RouteHash> routes;
  std::unordered_set<net::IpAddr, net::IpAddrHash> matched_added;  // kept only when blocks change too

  bool is_dirty(const net::IpAddr& ip) const { return std::binary_search(dirty.begin(), dirty.end(), ip); }
};

std::vector<SlotId> PeerClasses::update(const store::Cluster& cluster, const std::vector<net::IpAddr>& dirty,
                                        ChangeSink& sink) {
  Batch batch{cluster, dirty, specs_.take_delta(), {}, Regroup(classes_), {}, {}};
  const SpecTable::Delta& delta = batch.delta;
  if (delta.empty() && dirty.empty()) return {};
  for (const SpecId id : delta.removed) index_.remove(id, specs_.at(id));
  for (const SpecId id : delta.added) index_.add(id, specs_.at(id));
  if (delta.has_blocks()) batch.old_pieces = blocks_.change(specs_, delta);

  place_dirty(batch);
  if (!delta.added.empty()) place_added(batch);
  if (delta.has_blocks()) {
    place_changed_blocks(batch);  // and with them every address
  } else if (!delta.removed.empty()) {
    place_removed(batch);
  }
  Regroup::Outcome outcome = batch.regroup.finish();
  write(batch, outcome, sink);
  specs_.forget(delta);
  return std::move(outcome.changed);
}

/// Addresses about which nothing can be assumed: matched anew against all peers.
void PeerClasses::place_dirty(Batch& batch) {
  for (const net::IpAddr& ip : batch.dirty) {
    Signature signature;
    if (const api::Pod* owner = batch.cluster.pod_by_ip(ip)) {
      index_.match(specs_, batch.cluster, *owner, ip, signature);
      sort_unique(signature);
    }
    Regroup::Target to = Regroup::gone;
    if (!signature.empty()) {
      const std::size_t piece = blocks_.find(ip);
      if (piece != Blocks::npos) {
        const Signature& blocks = blocks_.pieces()[piece].signature;
        signature.insert(signature.end(), blocks.begin(), blocks.end());
      }
      to = batch.regroup.target(std::move(signature));
    }
    batch.regroup.move(ip, addresses_.get(ip, direction_), to);
  }
}

/// Where an address goes that keeps what it matched, but for removed peers, and matches `added` besides.
Regroup::Target PeerClasses::target_with(Batch& batch, const net::IpAddr& ip, SlotId from, const Signature& added) {
  const std::size_t piece = blocks_.find(ip);
  const auto [place, is_new] = batch.routes.try_emplace(Route{from, piece, added}, Regroup::gone);
  if (!is_new) return place->second;
  Signature signature = pod_part(classes_.at(from).signature, batch.delta.removed);
  signature.insert(signature.end(), added.begin(), added.end());
  if (signature.empty()) return Regroup::gone;
  if (piece != Blocks::npos) {
    const Signature& blocks = blocks_.pieces()[piece].signature;
    signature.insert(signature.end(), blocks.begin(), blocks.end());
  }
  std::sort(signature.begin(), signature.end());
  return place->second = batch.regroup.target(std::move(signature));
}

void PeerClasses::place_in_namespace(Batch& batch, SpecIndex& added, const std::string& name) {
  if (!added.concerns(batch.cluster, name)) return;
  const auto& pods = batch.cluster.pods();
  Signature signature;
  for (auto at = pods.lower_bound({name, ""}); at != pods.end() && at->first.first == name; ++at) {
    const api::Pod& pod = at->second;
    if (!pod.selectable()) continue;
    for (const net::IpAddr& ip : pod.ips) {
      if (batch.is_dirty(ip)) continue;
      signature.clear();
      added.match(specs_, batch.cluster, pod, ip, signature);
      if (signature.empty() || batch.cluster.pod_by_ip(ip) != &pod) continue;
      sort_unique(signature);
      const SlotId from = addresses_.get(ip, direction_);
      batch.regroup.move(ip, from, target_with(batch, ip, from, signature));
      if (batch.delta.has_blocks()) batch.matched_added.insert(ip);
    }
  }
}

/// Pods that match one of the added peers.
void PeerClasses::place_added(Batch& batch) {
  SpecIndex added;
  for (const SpecId id : batch.delta.added) added.add(id, specs_.at(id));
  if (added.empty()) return;
  if (added.is_confined()) {
    for (const std::string& name : added.named_namespaces()) place_in_namespace(batch, added, name);
    return;
  }
  const auto& pods = batch.cluster.pods();
  for (auto at = pods.begin(); at != pods.end();) {
    const std::string name = at->first.first;
    place_in_namespace(batch, added, name);
    at = pods.lower_bound({name + '\0', ""});
  }
}

/// The pieces themselves, and the addresses of pods that lie in them.
void PeerClasses::place_changed_blocks(Batch& batch) {
  Regroup& regroup = batch.regroup;
  for (const Piece& old : batch.old_pieces) regroup.leave(old.slot, old.range.first.family());
  auto old = batch.old_pieces.begin();
  for (const Piece& piece : blocks_.pieces()) {
    const Regroup::Target to = regroup.target(piece.signature);
    regroup.come(to, piece.range.first.family());
    while (old != batch.old_pieces.end() && old->range.last < piece.range.first) ++old;
    for (auto under = old; under != batch.old_pieces.end() && under->range.first <= piece.range.last; ++under) {
      regroup.vote(to, under->slot);
    }
  }
  addresses_.for_each([&](const net::IpAddr& ip, const AddressTable::Slots& slots) {
    const SlotId from = slots[index_of(direction_)];
    if (from == 0 || batch.matched_added.count(ip) > 0 || batch.is_dirty(ip)) return;
    regroup.move(ip, from, target_with(batch, ip, from, {}));
  });
}

/// Classes that have removed peers in their signature: whoever has not moved yet loses these.
void PeerClasses::place_removed(Batch& batch) {
  const auto& removed = batch.delta.removed;
  for (SlotId slot = 1; slot < classes_.end(); ++slot) {
    const Class& class_ = classes_.at(slot);
    const auto is_removed = [&](Match match) { return is_in(removed, spec_of(match)); };
    if (!class_.live() || std::none_of(class_.signature.begin(), class_.signature.end(), is_removed)) continue;
    Signature rest = class_.signature;
    rest.erase(std::remove_if(rest.begin(), rest.end(), is_removed), rest.end());
    batch.regroup.move_rest(slot, has_pod_part(rest) ? batch.regroup.target(std::move(rest)) : Regroup::gone);
  }
}

void PeerClasses::put(const net::IpAddr& ip, SlotId from, SlotId to, ChangeSink& sink) {
  if (from == to) return;
  const program::SetId peers = set(Shape::peer_class, ip.family());
  if (from != 0) sink.remove(peers, peer_element(ip, classes_.at(from).number));
  if (to != 0) sink.add(peers, peer_element(ip, classes_.at(to).number));
  addresses_.set(ip, direction_, to);
}

void PeerClasses::write(Batch& batch, const Regroup::Outcome& outcome, ChangeSink& sink) {
  // The displaced first, while whoever moved still stands where it was.
  if (!outcome.displaced.empty()) {
    std::unordered_set<net::IpAddr, net::IpAddrHash> moved;
    for (const Regroup::Moved& m : batch.regroup.moved()) {
      if (outcome.displaced.count(m.from) > 0) moved.insert(m.ip);
    }
    std::vector<std::tuple<net::IpAddr, SlotId, SlotId>> rest;
    addresses_.for_each([&](const net::IpAddr& ip, const AddressTable::Slots& slots) {
      const SlotId from = slots[index_of(direction_)];
      const auto found = outcome.displaced.find(from);
      if (found != outcome.displaced.end() && moved.count(ip) == 0) rest.emplace_back(ip, from, found->second);
    });
    for (const auto& [ip, from, to] : rest) put(ip, from, to, sink);
  }
  for (const Regroup::Moved& m : batch.regroup.moved()) put(m.ip, m.from, outcome.slot_of[m.to], sink);
  if (!batch.delta.has_blocks()) return;
  for (const Piece& old : batch.old_pieces) {
    const auto family = old.range.first.family();
    sink.remove(set(Shape::cidr_class, family), range_element(old.range, classes_.at(old.slot).number));
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
