#pragma once
// Collects what leaves and what comes while a batch is worked on; whoever writes need not know what others write. What
// left and came back unchanged is nothing.
#include <array>
#include <vector>

#include "policy/compile/elements.h"
#include "policy/diff/changes.h"

namespace podfence::compile {

class ChangeSink {
 public:
  void remove(program::SetId set, const program::Element& element) { at(set).removed.push_back(element); }
  void add(program::SetId set, const program::Element& element) { at(set).added.push_back(element); }
  diff::Changes take();

 private:
  diff::SetChange& at(program::SetId set) { return sets_[program::index_of(set)]; }

  std::array<diff::SetChange, program::set_count> sets_;
};

}  // namespace podfence::compile
