#pragma once
// metadata.resourceVersion of one cluster: decimal numbers without a limit, which grow.
#include <compare>
#include <string_view>

namespace podfence::reflector {

inline std::strong_ordering compare_revisions(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return a.size() <=> b.size();
  return a.compare(b) <=> 0;
}

}  // namespace podfence::reflector
