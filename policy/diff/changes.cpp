#include "policy/diff/changes.h"

#include <algorithm>
#include <iterator>

namespace podfence::diff {
namespace {

using program::Element;
using program::Program;
using program::SetId;

using Elements = std::vector<Element>;

std::string describe(SetId set, const Element& e) {
  return std::string(program::name_of(set)) + " { " + program::text_of(set, e) + " }";
}

Elements minus(const Elements& from, const Elements& what) {
  Elements left;
  std::set_difference(from.begin(), from.end(), what.begin(), what.end(), std::back_inserter(left));
  return left;
}

Elements both(const Elements& a, const Elements& b) {
  Elements all;
  all.reserve(a.size() + b.size());
  std::set_union(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(all));
  return all;
}

/// Whether two neighbours of a sorted set cannot stand together: one key, or ranges that overlap.
bool clash(SetId set, const Element& a, const Element& b) {
  if (program::same_key(set, a, b)) return true;
  if (!program::is_interval(set.shape)) return false;
  if (!program::has_port(set.shape)) return b.address <= a.address_last;
  const bool one_pod = a.address == b.address && a.class_id == b.class_id && a.protocol == b.protocol;
  return one_pod && b.ports.first <= a.ports.last;
}

Result<> add_all(SetId set, const Elements& added, Elements& elements) {
  Elements common;
  std::set_intersection(elements.begin(), elements.end(), added.begin(), added.end(), std::back_inserter(common));
  if (!common.empty()) return fail(Errc::refused, "add " + describe(set, common.front()) + ": it is there already");
  elements = both(elements, added);
  const auto twin = std::adjacent_find(elements.begin(), elements.end(),
                                       [set](const Element& a, const Element& b) { return clash(set, a, b); });
  if (twin != elements.end()) {
    return fail(Errc::refused, "add to " + describe(set, *twin) + ": " + program::text_of(set, *std::next(twin)) +
                                   " has the same key or overlaps it");
  }
  return {};
}

Result<> apply_to(SetId set, const SetChange& change, Elements& elements) {
  const Elements missing = minus(change.removed, elements);
  if (!missing.empty()) return fail(Errc::not_found, "remove " + describe(set, missing.front()) + ": it is not there");
  elements = minus(elements, change.removed);
  return add_all(set, change.added, elements);
}

/// Removed by the first and not put back by the second, or removed by the second what the first did not add; the mirror
/// of it for added. What comes back in the same form is no change at all.
SetChange merge_one(const SetChange& first, const SetChange& second) {
  SetChange merged;
  const Elements removed = both(first.removed, minus(second.removed, first.added));
  const Elements added = both(minus(first.added, second.removed), second.added);
  merged.removed = minus(removed, added);
  merged.added = minus(added, removed);
  return merged;
}

}  // namespace

std::size_t Changes::operations() const {
  std::size_t count = install ? 1 : 0;
  for (const auto& [set, change] : sets) count += change.removed.size() + change.added.size();
  return count;
}

std::string text_of(const Changes& changes) {
  std::string text = changes.install ? "install\n" : "";
  for (const auto& [set, change] : changes.sets) {
    for (const Element& e : change.removed) text += "remove " + describe(set, e) + "\n";
    for (const Element& e : change.added) text += "add " + describe(set, e) + "\n";
  }
  return text;
}

Result<Program> apply(const Changes& changes, Program before) {
  if (changes.install) {
    before = Program{};
    before.options = changes.options;
  }
  for (const auto& [set, change] : changes.sets) {
    const Result<> done = apply_to(set, change, before.at(set));
    if (!done) return fail(done.error());
  }
  return before;
}

Changes merge(const Changes& first, const Changes& second) {
  if (second.install) return second;
  Changes merged = first;
  for (const auto& [set, change] : second.sets) {
    SetChange one = merge_one(merged.sets[set], change);
    if (one.empty()) {
      merged.sets.erase(set);
    } else {
      merged.sets[set] = std::move(one);
    }
  }
  return merged;
}

}  // namespace podfence::diff
