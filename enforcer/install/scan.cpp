#include "enforcer/install/scan.h"

#include <algorithm>

namespace podfence::install {
namespace {

constexpr double settled_seconds = 2;

std::string text_of(const std::vector<Bad>& bad) {
  std::string text;
  for (const auto& one : bad) text += "; " + one.name + ": " + one.problem;
  return text;
}

}  // namespace

const Found* Scan::named(std::string_view name) const {
  const auto found = std::find_if(theirs.begin(), theirs.end(), [&](const Found& f) { return f.conf.name == name; });
  return found == theirs.end() ? nullptr : &*found;
}

const Bad* Scan::bad_named(std::string_view name) const {
  const auto found = std::find_if(bad.begin(), bad.end(), [&](const Bad& b) { return b.name == name; });
  return found == bad.end() ? nullptr : &*found;
}

const std::vector<std::string>& own_names() {
  // Bytewise, '0' sorts before letters, and '-' before '0': each one sorts before the one before it.
  static const std::vector<std::string> names{"00-podfence.conflist", "00-00-podfence.conflist", "0-podfence.conflist",
                                              "0-0-podfence.conflist"};
  return names;
}

Result<Scan> scan(const Directory& conf_dir) {
  const auto names = conf_dir.files();
  if (!names) return fail(names.error());
  Scan scan;
  for (const auto& name : *names) {
    if (!is_conf_name(name)) continue;
    auto read = conf_dir.read(name);
    const double age = read ? read->age_seconds : settled_seconds;
    auto conf = read ? parse_conf(name, std::move(read->bytes)) : fail(read.error());
    if (conf) {
      auto& list = conf->is_own() ? scan.own : scan.theirs;
      list.push_back({std::move(*conf), read->is_link, age});
    } else if (std::find(own_names().begin(), own_names().end(), name) == own_names().end()) {
      scan.bad.push_back({name, conf.error().what(), age});
    } else {
      scan.broken_own.push_back(name);
    }
  }
  return scan;
}

Result<std::string> first_name(const Scan& scan) {
  std::vector<std::string> others;
  for (const auto& found : scan.theirs) others.push_back(found.conf.name);
  for (const auto& bad : scan.bad) others.push_back(bad.name);
  const auto is_first = [&](const std::string& name) {
    return std::all_of(others.begin(), others.end(), [&](const std::string& other) { return name < other; });
  };
  for (const auto& found : scan.own) {
    if (is_first(found.conf.name)) return found.conf.name;
  }
  for (const auto& name : own_names()) {
    if (is_first(name)) return name;
  }
  return fail(Errc::refused, *std::min_element(others.begin(), others.end()) +
                                 ": sorts before every name that a list of ours may have; rename it, or use --mode "
                                 "in-place");
}

Result<const Found*> choose_primary(const Scan& scan, const std::string& wanted) {
  if (!wanted.empty()) {
    if (const auto* found = scan.named(wanted)) return found;
    const auto* bad = scan.bad_named(wanted);
    if (bad == nullptr) return fail(Errc::not_found, wanted + ": there is no such file");
    return fail(bad->age_seconds < settled_seconds ? Errc::busy : Errc::invalid, wanted + ": " + bad->problem);
  }
  const auto* first = scan.theirs.empty() ? nullptr : &scan.theirs.front();
  for (const auto& bad : scan.bad) {
    const bool before = first == nullptr || bad.name < first->conf.name;
    if (before && bad.age_seconds < settled_seconds) return fail(Errc::busy, bad.name + ": " + bad.problem);
  }
  if (first != nullptr) return first;
  return fail(Errc::not_found, "no network is configured yet" + text_of(scan.bad));
}

}  // namespace podfence::install
