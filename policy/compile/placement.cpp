#include "policy/compile/placement.h"

#include <algorithm>
#include <iterator>
#include <optional>

namespace podfence::compile {
namespace {

/// Up to so many addresses of a block are looked up one by one; of a larger one, those that exist are sifted.
constexpr std::size_t few_addresses = 4096;

void sort_unique(Signature& signature) {
  std::sort(signature.begin(), signature.end());
  signature.erase(std::unique(signature.begin(), signature.end()), signature.end());
}

/// How many addresses, if they differ in the last two bytes only.
std::optional<std::size_t> small_size_of(const net::IpRange& range) {
  const auto first = range.first.bytes();
  const auto last = range.last.bytes();
  const std::size_t high = first.size() - 2;
  if (!std::equal(first.begin(), first.begin() + static_cast<std::ptrdiff_t>(high), last.begin())) return std::nullopt;
  const auto low = [high](auto bytes) { return std::size_t{bytes[high]} * 256 + bytes[high + 1]; };
  return low(last) - low(first) + 1;
}

/// Whether the ranges hold few addresses in all.
bool are_small(const std::vector<net::IpRange>& ranges) {
  std::size_t total = 0;
  for (const net::IpRange& range : ranges) {
    const auto size = small_size_of(range);
    if (!size || (total += *size) > few_addresses) return false;
  }
  return true;
}

template <class F>
void for_each_address(const std::vector<net::IpRange>& ranges, F&& f) {
  for (const net::IpRange& range : ranges) {
    for (auto ip = std::optional(range.first); ip && *ip <= range.last; ip = ip->next()) f(*ip);
  }
}

}  // namespace

std::size_t Placement::RouteHash::operator()(const Route& route) const noexcept {
  return SignatureHash{}(route.added) ^ ((std::size_t{route.from} << 32U) + route.piece) * 0x9e3779b97f4a7c15ULL;
}

bool Placement::is_dirty(const net::IpAddr& ip) const {
  return std::binary_search(in_.dirty.begin(), in_.dirty.end(), ip);
}

bool Placement::is_removed(Match match) const {
  return std::binary_search(in_.delta.removed.begin(), in_.delta.removed.end(), spec_of(match));
}

void Placement::append_blocks(const net::IpAddr& ip, Signature& signature) const {
  const std::size_t piece = in_.blocks.find(ip);
  if (piece == Blocks::npos) return;
  const Signature& blocks = in_.blocks.pieces()[piece].signature;
  signature.insert(signature.end(), blocks.begin(), blocks.end());
}

/// Addresses about which nothing can be assumed: matched anew against all peers.
void Placement::dirty() {
  for (const net::IpAddr& ip : in_.dirty) {
    Signature signature;
    if (const api::Pod* owner = in_.cluster.pod_by_ip(ip)) {
      index_.match(in_.specs, index_.scope_of(in_.cluster, owner->meta.namespace_), *owner, ip, signature);
      sort_unique(signature);
    }
    Regroup::Target to = Regroup::gone;
    if (!signature.empty()) {
      append_blocks(ip, signature);
      to = regroup_.target(std::move(signature));
    }
    regroup_.move(ip, in_.addresses.get(ip, in_.direction), to);
  }
}

/// Where an address goes that keeps what it matched, but for peers that are gone, and matches `added` besides.
Regroup::Target Placement::target_with(const net::IpAddr& ip, SlotId from, const Signature& added) {
  const auto [place, is_new] = routes_.try_emplace(Route{from, in_.blocks.find(ip), added}, Regroup::gone);
  if (!is_new) return place->second;
  Signature signature = added;
  for (const Match match : in_.classes.at(from).signature) {
    if (!is_block(spec_of(match)) && !is_removed(match)) signature.push_back(match);
  }
  if (signature.empty()) return Regroup::gone;
  append_blocks(ip, signature);
  std::sort(signature.begin(), signature.end());
  return place->second = regroup_.target(std::move(signature));
}

void Placement::move_with(const net::IpAddr& ip, const Signature& added) {
  const SlotId from = in_.addresses.get(ip, in_.direction);
  regroup_.move(ip, from, target_with(ip, from, added));
}

void Placement::added() {
  if (in_.delta.added.empty()) return;
  for (const SpecId id : in_.delta.added) added_.add(id, in_.specs.at(id));
  if (!added_.empty()) added_to_pods();
  if (is_block(in_.delta.added.back())) added_blocks();
}

/// What the pod matches of the peers that have come.
void Placement::match_added(const SpecIndex::Scope& scope, const api::Pod& pod, const net::IpAddr& ip) {
  const bool is_like = like_ != nullptr && added_.is_by_labels() && pod.meta.labels.shares_with(like_->meta.labels) &&
                       pod.named_ports.shares_with(like_->named_ports);
  if (is_like) return;
  matched_.clear();
  added_.match(in_.specs, scope, pod, ip, matched_);
  sort_unique(matched_);
  like_ = &pod;
}

/// `ip` is one of the pod's addresses.
void Placement::added_to_pod(const SpecIndex::Scope& scope, const api::Pod& pod, const net::IpAddr& ip) {
  if (is_dirty(ip)) return;
  match_added(scope, pod, ip);
  if (matched_.empty() || placed_.get(ip, in_.direction) != 0 || in_.cluster.pod_by_ip(ip) != &pod) return;
  move_with(ip, matched_);
  placed_.set(ip, in_.direction, 1);
}

void Placement::added_to_namespace(const SpecIndex::Scope& scope, const Text& name) {
  like_ = nullptr;
  const auto& pods = in_.cluster.pods();
  for (auto at = pods.lower_bound({name, ""}); at != pods.end() && at->first.first == name; ++at) {
    if (!at->second.selectable()) continue;
    for (const net::IpAddr& ip : at->second.ips) added_to_pod(scope, at->second, ip);
  }
}

/// Pods that match a peer that has come, other than a plain block.
void Placement::added_to_pods() {
  bool everywhere = false;  // pods of every namespace must be looked at
  for (const SpecId id : in_.delta.added) {
    const auto* block = std::get_if<model::Ranges>(&in_.specs.at(id).who);
    if (block == nullptr || is_block(id)) continue;
    if (!are_small(block->ranges)) {
      everywhere = true;
      continue;
    }
    for_each_address(block->ranges, [&](const net::IpAddr& ip) {
      const api::Pod* owner = in_.cluster.pod_by_ip(ip);
      if (owner != nullptr) added_to_pod(added_.scope_of(in_.cluster, owner->meta.namespace_), *owner, ip);
    });
  }
  const auto& pods = in_.cluster.pods();
  if (!everywhere && added_.is_confined()) {
    for (const std::string& name : added_.named_namespaces()) {
      added_to_namespace(added_.scope_of(in_.cluster, name), name);
    }
    return;
  }
  for (auto at = pods.begin(); at != pods.end();) {
    const Text name = at->first.first;
    const SpecIndex::Scope scope = added_.scope_of(in_.cluster, name);
    if (everywhere || !scope.empty()) added_to_namespace(scope, name);
    at = pods.lower_bound({std::string(name) + '\0', ""});
  }
}

/// Addresses with a class that lie in a block that has come.
void Placement::added_blocks() {
  std::vector<net::IpRange> ranges;
  for (const SpecId id : in_.delta.added) {
    if (!is_block(id)) continue;
    const auto& block = std::get<model::Ranges>(in_.specs.at(id).who).ranges;
    ranges.insert(ranges.end(), block.begin(), block.end());
  }
  const model::Ranges all{net::merged(std::move(ranges))};
  const auto place = [&](const net::IpAddr& ip) {
    if (placed_.get(ip, in_.direction) == 0 && !is_dirty(ip)) move_with(ip, {});
  };
  if (are_small(all.ranges)) {
    for_each_address(all.ranges, [&](const net::IpAddr& ip) {
      if (in_.addresses.get(ip, in_.direction) != 0) place(ip);
    });
    return;
  }
  in_.addresses.for_each([&](const net::IpAddr& ip, const AddressTable::Slots& slots) {
    if (slots[index_of(in_.direction)] != 0 && all.contains(ip)) place(ip);
  });
}

/// The pieces are all new, whatever blocks came and went.
void Placement::pieces(const std::vector<Piece>& old) {
  for (const Piece& piece : old) regroup_.leave(piece.slot, piece.range.first.family());
  auto under = old.begin();
  for (const Piece& piece : in_.blocks.pieces()) {
    const Regroup::Target to = regroup_.target(piece.signature);
    regroup_.come(to, piece.range.first.family());
    while (under != old.end() && under->range.last < piece.range.first) ++under;
    for (auto one = under; one != old.end() && one->range.first <= piece.range.last; ++one) {
      regroup_.vote(to, one->slot);
    }
  }
}

/// Classes that have peers in their signature that are gone: whoever has not moved yet loses these.
void Placement::removed() {
  if (in_.delta.removed.empty()) return;
  const auto is_gone = [this](Match match) { return is_removed(match); };
  for (SlotId slot = 1; slot < in_.classes.end(); ++slot) {
    const Class& class_ = in_.classes.at(slot);
    if (!class_.live() || !has_pod_part(class_.signature)) continue;  // a class of pieces, which are all new
    if (std::none_of(class_.signature.begin(), class_.signature.end(), is_gone)) continue;
    Signature rest = class_.signature;
    rest.erase(std::remove_if(rest.begin(), rest.end(), is_gone), rest.end());
    regroup_.move_rest(slot, has_pod_part(rest) ? regroup_.target(std::move(rest)) : Regroup::gone);
  }
}

}  // namespace podfence::compile
