#include "policy/compile/change_sink.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace podfence::compile {

diff::Changes ChangeSink::take() {
  diff::Changes changes;
  for (std::size_t index = 0; index < sets_.size(); ++index) {
    diff::SetChange all = std::exchange(sets_[index], {});
    if (all.empty()) continue;
    std::sort(all.removed.begin(), all.removed.end());
    std::sort(all.added.begin(), all.added.end());
    // Multiset difference: an element that came, left and came again still comes once.
    diff::SetChange net;
    std::set_difference(all.removed.begin(), all.removed.end(), all.added.begin(), all.added.end(),
                        std::back_inserter(net.removed));
    std::set_difference(all.added.begin(), all.added.end(), all.removed.begin(), all.removed.end(),
                        std::back_inserter(net.added));
    if (!net.empty()) changes.sets.emplace(program::set_at(index), std::move(net));
  }
  return changes;
}

}  // namespace podfence::compile
