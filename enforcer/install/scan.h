#pragma once
// What lies in the configuration directory: lists of others, lists of ours, and what is neither.
#include <string>
#include <string_view>
#include <vector>

#include "enforcer/install/conf_file.h"
#include "enforcer/install/directory.h"

namespace podfence::install {

struct Found {
  ConfFile conf;
  bool is_link = false;
  double age_seconds = 0;
};

struct Bad {
  std::string name;
  std::string problem;  // names the field; the file is not in it
  double age_seconds = 0;
};

/// Each sorted by name, as a runtime sorts them.
struct Scan {
  std::vector<Found> theirs;            // an entry of ours may be in them
  std::vector<Found> own;               // made by this installer as a whole
  std::vector<Bad> bad;                 // at a name of theirs
  std::vector<std::string> broken_own;  // at a name of ours, and not readable as a list

  const Found* named(std::string_view name) const;
  const Bad* bad_named(std::string_view name) const;
};

/// The names that a list of ours may have, the usual one first.
const std::vector<std::string>& own_names();

Result<Scan> scan(const Directory& conf_dir);

/// The name under which a list sorts before every file that a runtime would look at; the one that is there already if
/// it does.
Result<std::string> first_name(const Scan& scan);

/// The list that a runtime would take if we were not there: the first one that can be read, or the one that is asked
/// for. A file that cannot be read is waited for (busy) while it is young, because somebody may be writing it.
Result<const Found*> choose_primary(const Scan& scan, const std::string& wanted);

}  // namespace podfence::install
