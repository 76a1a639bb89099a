#pragma once
// `podfence check`: validates manifests and says what is wrong in a form that people, scripts and CI systems read.
#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

#include "policy/api/decode.h"

namespace podfence::cli {

enum class Report : std::uint8_t { text, json, sarif, junit };

struct CheckOptions {
  std::vector<std::string> paths;  // files, or directories with *.yaml, *.yml and *.json below them
  Report report = Report::text;
};

/// What one run found; findings in the order of the files.
struct Findings {
  std::vector<std::string> files;
  std::size_t objects = 0;
  std::vector<api::Diagnostic> diagnostics;
  std::size_t count(api::Severity severity) const;
};

/// The same as text of each form; check() prints it.
std::string report_text(const Findings& findings);
std::string report_json(const Findings& findings);
std::string report_sarif(const Findings& findings);  // 2.1.0
std::string report_junit(const Findings& findings);

/// Exit code: 0 = no errors (there may be warnings), 2 = findings of severity error, 1 = a path could not be read.
int check(const CheckOptions& options, std::ostream& out, std::ostream& err);

}  // namespace podfence::cli
