#include "policy/compile/blocks.h"

#include <algorithm>
#include <set>
#include <utility>

namespace podfence::compile {
namespace {

/// Where a block's range starts, or the first address after it.
struct Edge {
  net::IpAddr at;
  bool opens;
  SpecId id;
  friend auto operator<=>(const Edge&, const Edge&) = default;
};

std::vector<Edge> edges_of(const SpecTable& specs, const std::vector<SpecId>& ids, net::Family family) {
  std::vector<Edge> edges;
  for (const SpecId id : ids) {
    for (const net::IpRange& range : std::get<model::Ranges>(specs.at(id).who).ranges) {
      if (range.first.family() != family) continue;
      edges.push_back({range.first, true, id});
      if (const auto after = range.last.next()) edges.push_back({*after, false, id});
    }
  }
  std::sort(edges.begin(), edges.end());
  return edges;
}

net::IpAddr last_of(net::Family family) {
  const net::IpAddr any = family == net::Family::ipv4 ? net::IpAddr{} : net::IpAddr::v6({});
  return net::Cidr::around(any, 0).range().last;
}

void append_pieces(std::vector<Piece>& pieces, const std::vector<Edge>& edges, net::Family family) {
  std::set<SpecId> open;
  for (std::size_t i = 0; i < edges.size();) {
    const net::IpAddr at = edges[i].at;
    for (; i < edges.size() && edges[i].at == at; ++i) {
      if (edges[i].opens) {
        open.insert(edges[i].id);
      } else {
        open.erase(edges[i].id);
      }
    }
    if (open.empty()) continue;
    const net::IpAddr last = i < edges.size() ? *edges[i].at.previous() : last_of(family);
    Signature signature;
    for (const SpecId id : open) signature.push_back(match_of(id, 0));
    Piece* before = pieces.empty() ? nullptr : &pieces.back();
    if (before != nullptr && before->range.last.next() == at && before->signature == signature) {
      before->range.last = last;
    } else {
      pieces.push_back({{at, last}, std::move(signature), 0});
    }
  }
}

}  // namespace

std::vector<Piece> Blocks::change(const SpecTable& specs, const SpecTable::Delta& delta) {
  const auto removed = [&](SpecId id) { return std::binary_search(delta.removed.begin(), delta.removed.end(), id); };
  ids_.erase(std::remove_if(ids_.begin(), ids_.end(), removed), ids_.end());
  std::copy_if(delta.added.begin(), delta.added.end(), std::back_inserter(ids_),
               [](SpecId id) { return is_block(id); });
  std::sort(ids_.begin(), ids_.end());
  std::vector<Piece> old = std::exchange(pieces_, {});
  for (const net::Family family : net::families) append_pieces(pieces_, edges_of(specs, ids_, family), family);
  return old;
}

std::size_t Blocks::find(const net::IpAddr& ip) const {
  const auto after = std::upper_bound(pieces_.begin(), pieces_.end(), ip,
                                      [](const net::IpAddr& a, const Piece& piece) { return a < piece.range.first; });
  if (after == pieces_.begin() || !std::prev(after)->range.contains(ip)) return npos;
  return static_cast<std::size_t>(std::prev(after) - pieces_.begin());
}

}  // namespace podfence::compile
