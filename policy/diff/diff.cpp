#include "policy/diff/diff.h"

#include <algorithm>
#include <iterator>

namespace podfence::diff {

Changes changes_between(const program::Program& from, const program::Program& to) {
  if (from.options != to.options) return install_of(to);
  Changes changes;
  for (std::size_t i = 0; i < program::set_count; ++i) {
    const auto& before = from.sets[i];
    const auto& after = to.sets[i];
    SetChange change;
    std::set_difference(before.begin(), before.end(), after.begin(), after.end(), std::back_inserter(change.removed));
    std::set_difference(after.begin(), after.end(), before.begin(), before.end(), std::back_inserter(change.added));
    if (!change.empty()) changes.sets.emplace(program::set_at(i), std::move(change));
  }
  return changes;
}

Changes install_of(const program::Program& whole) {
  Changes changes;
  changes.install = true;
  changes.options = whole.options;
  for (std::size_t i = 0; i < program::set_count; ++i) {
    if (!whole.sets[i].empty()) changes.sets.emplace(program::set_at(i), SetChange{{}, whole.sets[i]});
  }
  return changes;
}

}  // namespace podfence::diff
