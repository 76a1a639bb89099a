#pragma once
// What a kernel transaction does, as a value: printable, comparable, mergeable.
#include <map>
#include <string>
#include <vector>

#include "policy/base/result.h"
#include "policy/program/program.h"

namespace podfence::diff {

/// Elements that leave and that come, each sorted and unique. An element whose data changes is in both.
struct SetChange {
  std::vector<program::Element> removed;
  std::vector<program::Element> added;
  bool empty() const { return removed.empty() && added.empty(); }
  friend bool operator==(const SetChange&, const SetChange&) = default;
};

struct Changes {
  /// Replace the whole table: an existing one is deleted, sets, chains and rules for `options` are made, and `sets`
  /// holds nothing but additions: every element of the program.
  bool install = false;
  program::Options options;                  // meaningful with install
  std::map<program::SetId, SetChange> sets;  // no empty entries

  bool empty() const { return !install && sets.empty(); }
  std::size_t operations() const;
  friend bool operator==(const Changes&, const Changes&) = default;
};

/// "install" / "remove in_port4 { 1:0 . 10.0.0.1 . tcp . 80 }" / "add ...": one line each, in the order of execution.
std::string text_of(const Changes& changes);

/// The program after the changes. Removing what is not there and adding what is there already, or what overlaps a range
/// that is there, are errors (not_found and refused): the kernel answers ENOENT and EEXIST.
Result<program::Program> apply(const Changes& changes, program::Program before);

/// One after the other as one: apply(merge(a, b), p) == apply(b, apply(a, p)).
Changes merge(const Changes& first, const Changes& second);

}  // namespace podfence::diff
