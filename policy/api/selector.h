#pragma once
// A LabelSelector (apimachinery meta/v1): requirements, all of which must hold. Empty selects everything.
#include <string>
#include <string_view>
#include <vector>

#include "policy/api/meta.h"

namespace podfence::api {

enum class Operator : std::uint8_t { in, not_in, exists, does_not_exist };

std::string_view name_of(Operator op);  // "In", "NotIn", "Exists", "DoesNotExist"

struct Requirement {
  std::string key;
  Operator op = Operator::exists;
  std::vector<std::string> values;  // sorted, unique; of In and NotIn only
  bool matches(const Labels& labels) const;
  friend auto operator<=>(const Requirement&, const Requirement&) = default;
};

struct LabelSelector {
  /// matchLabels and matchExpressions together (matchLabels as In with one value), sorted and unique.
  SharedList<Requirement> requirements;
  /// Set when a part of it was invalid: it then matches nothing at all (conformance L-12).
  bool invalid = false;

  bool matches(const Labels& labels) const;
  bool matches_everything() const { return !invalid && requirements.empty(); }
  std::string text() const;  // "app=web,tier in (a,b),!legacy", "<everything>", "<invalid>"
  friend auto operator<=>(const LabelSelector&, const LabelSelector&) = default;
};

}  // namespace podfence::api
