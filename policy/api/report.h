#pragma once
// Collects what is wrong while a file is decoded, and knows which document, item and object it is at.
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "policy/api/decode.h"
#include "policy/api/value.h"

namespace podfence::api {

class Report {
 public:
  explicit Report(std::string_view file) : file_(file) {}

  /// The object that the next findings are about.
  void enter(std::size_t document, std::size_t item);
  void name_object(std::string text) { object_ = std::move(text); }

  void error(const Value& at, std::string message) { add(Severity::error, at, std::move(message)); }
  void warning(const Value& at, std::string message) { add(Severity::warning, at, std::move(message)); }
  void note(const Value& at, std::string message) { add(Severity::note, at, std::move(message)); }

  /// Each is true when the value has that type; a value that is not given is silently false, another type an error.
  bool object(const Value& value);
  bool array(const Value& value);
  bool string(const Value& value);
  bool boolean(const Value& value);
  bool integer(const Value& value);

  /// All findings, with a last line for those beyond the limit.
  std::vector<Diagnostic> take();

 private:
  static constexpr std::size_t most_of_a_severity = 1000;

  void add(Severity severity, const Value& at, std::string message);
  bool expect(const Value& value, bool right, std::string_view type);

  std::string file_;
  std::size_t document_ = 1;
  std::size_t item_ = 0;
  std::string object_;
  std::vector<Diagnostic> diagnostics_;
  std::array<std::size_t, 3> count_{};
};

}  // namespace podfence::api
