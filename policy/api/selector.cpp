#include "policy/api/selector.h"

#include <algorithm>

namespace podfence::api {
namespace {

std::string text_of(const Requirement& requirement) {
  const auto listed = [&](std::string_view one, std::string_view many) {
    std::string out = requirement.key;
    if (requirement.values.size() == 1) return out.append(one).append(requirement.values.front());
    out.append(" ").append(many).append(" (");
    for (const auto& value : requirement.values) {
      if (&value != &requirement.values.front()) out += ',';
      out += value;
    }
    return out + ")";
  };
  switch (requirement.op) {
    case Operator::in:
      return listed("=", "in");
    case Operator::not_in:
      return listed("!=", "notin");
    case Operator::exists:
      return requirement.key;
    case Operator::does_not_exist:
      return "!" + requirement.key;
  }
  return requirement.key;
}

}  // namespace

std::string_view name_of(Operator op) {
  switch (op) {
    case Operator::in:
      return "In";
    case Operator::not_in:
      return "NotIn";
    case Operator::exists:
      return "Exists";
    case Operator::does_not_exist:
      return "DoesNotExist";
  }
  return "";
}

bool Requirement::matches(const Labels& labels) const {
  const auto value = find_label(labels, key);
  const auto listed = [&] { return std::find(values.begin(), values.end(), *value) != values.end(); };
  switch (op) {
    case Operator::in:
      return value && listed();
    case Operator::not_in:
      return !value || !listed();
    case Operator::exists:
      return value.has_value();
    case Operator::does_not_exist:
      return !value.has_value();
  }
  return false;
}

bool LabelSelector::matches(const Labels& labels) const {
  return !invalid && std::all_of(requirements.begin(), requirements.end(),
                                 [&](const Requirement& requirement) { return requirement.matches(labels); });
}

std::string LabelSelector::text() const {
  if (invalid) return "<invalid>";
  if (requirements.empty()) return "<everything>";
  std::string out;
  for (const auto& requirement : requirements) {
    if (!out.empty()) out += ',';
    out += text_of(requirement);
  }
  return out;
}

}  // namespace podfence::api
