#pragma once
// metadata.resourceVersion of one cluster: decimal numbers without a limit, which grow.
#include <charconv>
#include <compare>
#include <cstdint>
#include <functional>
#include <string_view>

namespace podfence::reflector {

inline std::strong_ordering compare_revisions(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return a.size() <=> b.size();
  return a.compare(b) <=> 0;
}

constexpr std::uint64_t no_number = std::uint64_t{1} << 63U;

/// A revision in eight bytes, equal only for equal ones: the number that it is, or a hash with the top bit set of what
/// is none.
inline std::uint64_t version_of(std::string_view revision) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(revision.data(), revision.data() + revision.size(), number);
  const bool is_number = error == std::errc() && end == revision.data() + revision.size() && number < no_number;
  return is_number ? number : std::hash<std::string_view>{}(revision) | no_number;
}

/// Whether both say when, and the first is later.
inline bool is_newer(std::uint64_t version, std::uint64_t than) {
  return version < no_number && than < no_number && version > than;
}

}  // namespace podfence::reflector
