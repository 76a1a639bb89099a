#pragma once
// The manifests below a directory. Links are followed, but every directory is visited once, so that loops end.
#include <map>
#include <set>
#include <string>

#include "enforcer/source/watcher.h"

namespace podfence::source {

struct Walk {
  bool root_found = false;
  std::set<std::string> files;
  /// Directories that could not be read, with why: nothing is known of what is below them.
  std::map<std::string, std::string> unreadable;
  /// What is read but not watched, with why.
  std::map<std::string, std::string> unwatched;
};

/// Walks and sets the watches, each before its directory is read, so that nothing is missed in between.
Walk walk(const std::string& root, Watcher& watcher);

}  // namespace podfence::source
