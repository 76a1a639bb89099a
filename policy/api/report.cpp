#include "policy/api/report.h"

namespace podfence::api {

void Report::enter(std::size_t document, std::size_t item) {
  document_ = document;
  item_ = item;
  object_.clear();
}

void Report::add(Severity severity, const Value& at, std::string message) {
  // A hostile file must not make us keep a finding for every few bytes of it.
  if (++count_[static_cast<std::size_t>(severity)] > most_of_a_severity) return;
  diagnostics_.push_back({severity, file_, document_, item_, at.line(), object_, at.path(), std::move(message)});
}

bool Report::expect(const Value& value, bool right, std::string_view type) {
  if (right || !value.given()) return right;
  error(value, value.shown() + " is not valid: expected " + std::string(type));
  return false;
}

bool Report::object(const Value& value) {
  return expect(value, value.is_object(), "a map");
}
bool Report::array(const Value& value) {
  return expect(value, value.is_array(), "a list");
}
bool Report::string(const Value& value) {
  return expect(value, value.is_string(), "a string");
}
bool Report::boolean(const Value& value) {
  return expect(value, value.is_bool(), "true or false");
}
bool Report::integer(const Value& value) {
  return expect(value, value.is_integer(), "a whole number");
}

std::vector<Diagnostic> Report::take() {
  for (const Severity severity : {Severity::error, Severity::warning, Severity::note}) {
    const std::size_t count = count_[static_cast<std::size_t>(severity)];
    if (count <= most_of_a_severity) continue;
    diagnostics_.push_back({severity, file_, document_, 0, 0, "", "",
                            std::to_string(count - most_of_a_severity) + " more of this severity are not listed"});
  }
  return std::move(diagnostics_);
}

}  // namespace podfence::api
