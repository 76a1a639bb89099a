#include "enforcer/cli/check.h"

#include <algorithm>
#include <map>
#include <ostream>

#include "enforcer/cli/objects.h"

namespace podfence::cli {
namespace {

api::Diagnostic finding(api::Severity severity, std::string file, std::string object, std::string message) {
  api::Diagnostic diagnostic;
  diagnostic.severity = severity;
  diagnostic.file = std::move(file);
  diagnostic.object = std::move(object);
  diagnostic.message = std::move(message);
  return diagnostic;
}

/// Without the file's name before it: the finding has it in a field of its own.
std::string without_file(std::string_view what, std::string_view file) {
  const std::string prefix = std::string(file) + ": ";
  if (what.starts_with(prefix)) what.remove_prefix(prefix.size());
  return std::string(what);
}

class Checker {
 public:
  /// False when the file cannot be read.
  Result<> take(const std::string& file) {
    const auto text = read_file(file, api::Limits{}.bytes);
    if (!text) return fail(text.error());
    findings_.files.push_back(file);
    const auto decoded = api::decode_file(file, *text);
    if (!decoded) {
      findings_.diagnostics.push_back(
          finding(api::Severity::error, file, "", without_file(decoded.error().what(), file)));
      return {};
    }
    findings_.objects += decoded->objects.size();
    findings_.diagnostics.insert(findings_.diagnostics.end(), decoded->diagnostics.begin(), decoded->diagnostics.end());
    for (const api::Object& object : decoded->objects) note_twins(file, api::key_of(object));
    return {};
  }

  Findings findings() && { return std::move(findings_); }

 private:
  /// Only the last of two objects with one name counts, and which is the last is an accident of file names.
  void note_twins(const std::string& file, const api::ObjectKey& key) {
    const auto [before, is_new] = first_file_.emplace(key, file);
    if (is_new) return;
    const std::string where = before->second == file ? "earlier in this file" : "in " + before->second;
    findings_.diagnostics.push_back(
        finding(api::Severity::warning, file, key.text(), "the same object is " + where + " too: only one counts"));
  }

  Findings findings_;
  std::map<api::ObjectKey, std::string> first_file_;
};

std::string render(Report report, const Findings& findings) {
  switch (report) {
    case Report::text:
      return report_text(findings);
    case Report::json:
      return report_json(findings);
    case Report::sarif:
      return report_sarif(findings);
    case Report::junit:
      return report_junit(findings);
  }
  return {};
}

}  // namespace

std::size_t Findings::count(api::Severity severity) const {
  return static_cast<std::size_t>(std::count_if(diagnostics.begin(), diagnostics.end(),
                                                [severity](const auto& d) { return d.severity == severity; }));
}

int check(const CheckOptions& options, std::ostream& out, std::ostream& err) {
  Checker checker;
  bool unreadable = false;
  const auto complain = [&](const Error& error) {
    err << "error: " << error.what() << '\n';
    unreadable = true;
  };
  for (const std::string& path : options.paths) {
    const auto files = manifests_below(path);
    if (!files) {
      complain(files.error());
      continue;
    }
    for (const std::string& file : *files) {
      if (const auto taken = checker.take(file); !taken) complain(taken.error());
    }
  }
  const Findings findings = std::move(checker).findings();
  out << render(options.report, findings);
  if (unreadable) return 1;
  return findings.count(api::Severity::error) > 0 ? 2 : 0;
}

}  // namespace podfence::cli
