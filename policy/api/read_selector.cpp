#include <algorithm>
#include <array>

#include "policy/api/parts.h"
#include "policy/api/syntax.h"

namespace podfence::api {
namespace {

/// One selector while it is read: any finding makes all of it invalid (conformance L-12).
class SelectorReader {
 public:
  explicit SelectorReader(Report& report) : report_(report) {}

  LabelSelector read(const Value& selector) {
    if (!report_.object(selector)) return invalid();
    const Fields fields = count_fields(selector, {"matchLabels", "matchExpressions"});
    if (fields.unknown > 0) {
      // Ignored, a misspelt matchLabels would select everything.
      bad(selector,
          quote(fields.first_unknown) + " is not a field of a selector: expected matchLabels, matchExpressions");
    }
    read_labels(selector.get("matchLabels"));
    read_expressions(selector.get("matchExpressions"));
    if (bad_) return invalid();
    auto& all = requirements_;
    std::sort(all.begin(), all.end());
    all.erase(std::unique(all.begin(), all.end()), all.end());
    return {std::move(all), false};
  }

 private:
  static LabelSelector invalid() {
    LabelSelector out;
    out.invalid = true;
    return out;
  }

  void bad(const Value& at, std::string message) {
    bad_ = true;
    report_.error(at, std::move(message));
  }

  bool check_key(const Value& at, std::string_view key) {
    if (is_label_key(key)) return true;
    bad(at, quote(key) + " is not a label's key: expected [prefix/]name");
    return false;
  }

  bool check_value(const Value& value) {
    if (value.is_string() && is_label_value(value.string())) return true;
    bad(value, value.shown() + (value.is_string()
                                    ? " is not a label's value: expected at most 63 letters, digits, '-', '_', '.'"
                                    : " is not a label's value: expected a string (write it in quotes)"));
    return false;
  }

  void read_labels(const Value& labels) {
    if (!labels.given()) return;
    if (!report_.object(labels)) bad_ = true;
    labels.each_field([&](std::string_view key, const Value& value) {
      if (check_key(value, key) && check_value(value)) {
        requirements_.push_back({std::string(key), Operator::in, {std::string(value.string())}});
      }
    });
  }

  void read_expressions(const Value& expressions) {
    if (!expressions.given()) return;
    if (!report_.array(expressions)) bad_ = true;
    expressions.each_item([&](const Value& expression) { read_expression(expression); });
  }

  void read_expression(const Value& expression) {
    if (!expression.is_object()) {
      return bad(expression,
                 expression.shown() + " is not an expression: expected a map with key, operator and values");
    }
    const Fields fields = count_fields(expression, {"key", "operator", "values"});
    if (fields.unknown > 0) {
      return bad(expression,
                 quote(fields.first_unknown) + " is not a field of an expression: expected key, operator, values");
    }
    Requirement requirement;
    const Value key = expression.get("key");
    if (!key.is_string()) return bad(key, key.shown() + " is not a label's key: expected a string");
    if (!check_key(key, key.string())) return;
    requirement.key = key.string();
    if (!read_operator(expression.get("operator"), requirement.op)) return;
    if (!read_values(expression.get("values"), requirement)) return;
    requirements_.push_back(std::move(requirement));
  }

  bool read_operator(const Value& value, Operator& op) {
    for (const Operator one : {Operator::in, Operator::not_in, Operator::exists, Operator::does_not_exist}) {
      if (value.is_string() && value.string() == name_of(one)) {
        op = one;
        return true;
      }
    }
    bad(value, value.shown() + " is not an operator: expected In, NotIn, Exists or DoesNotExist");
    return false;
  }

  bool read_values(const Value& values, Requirement& requirement) {
    const bool wants_values = requirement.op == Operator::in || requirement.op == Operator::not_in;
    if (values.given() && !report_.array(values)) {
      bad_ = true;
      return false;
    }
    bool good = true;
    values.each_item([&](const Value& value) {
      good = check_value(value) && good;
      if (good) requirement.values.emplace_back(value.string());
    });
    if (!good) return false;
    auto& all = requirement.values;
    if (wants_values == all.empty()) {
      bad(values,
          std::string(name_of(requirement.op)) + (wants_values ? " needs at least one value" : " takes no values"));
      return false;
    }
    std::sort(all.begin(), all.end());
    all.erase(std::unique(all.begin(), all.end()), all.end());
    return true;
  }

  Report& report_;
  std::vector<Requirement> requirements_;
  bool bad_ = false;
};

}  // namespace

LabelSelector read_selector(Report& report, const Value& selector) {
  return SelectorReader(report).read(selector);
}

}  // namespace podfence::api
