#include "policy/compile/spec_table.h"

#include <algorithm>
#include <utility>

namespace podfence::compile {

bool SpecTable::Delta::has_blocks() const {
  // Sorted, and the bit is the highest.
  return (!added.empty() && is_block(added.back())) || (!removed.empty() && is_block(removed.back()));
}

SpecId SpecTable::acquire(const model::PeerSpec& spec) {
  const auto [place, is_new] = ids_.try_emplace(spec, 0);
  if (is_new) {
    const SpecId bit = model::is_block(spec) ? block_bit : 0;
    Pool& pool = pool_of(bit);
    if (pool.free.empty()) {
      pool.free.push_back(static_cast<SpecId>(pool.entries.size()) | bit);
      pool.entries.emplace_back();
    }
    place->second = pool.free.back();
    pool.free.pop_back();
    entry(place->second) = {&place->first, 0, false, false};
  }
  if (entry(place->second).uses++ == 0) touch(place->second);
  return place->second;
}

void SpecTable::release(SpecId id) {
  if (--entry(id).uses == 0) touch(id);
}

void SpecTable::touch(SpecId id) {
  if (!std::exchange(entry(id).touched, true)) touched_.push_back(id);
}

SpecTable::Delta SpecTable::take_delta() {
  Delta delta;
  for (const SpecId id : std::exchange(touched_, {})) {
    Entry& e = entry(id);
    e.touched = false;
    const bool used = e.uses > 0;
    if (used && !e.told) {
      e.told = true;
      delta.added.push_back(id);
    } else if (!used && e.told) {
      delta.removed.push_back(id);
    } else if (!used) {
      drop(id);
    }
  }
  std::sort(delta.added.begin(), delta.added.end());
  std::sort(delta.removed.begin(), delta.removed.end());
  return delta;
}

void SpecTable::forget(const Delta& delta) {
  for (const SpecId id : delta.removed) drop(id);
}

void SpecTable::drop(SpecId id) {
  ids_.erase(ids_.find(*entry(id).spec));
  entry(id) = {};
  pool_of(id).free.push_back(id);
}

}  // namespace podfence::compile
