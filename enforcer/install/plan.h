#pragma once
// What ought to lie on disk, as a function of what lies there. No effects.
#include <string>
#include <vector>

#include "enforcer/install/options.h"
#include "enforcer/install/scan.h"

namespace podfence::install {

struct Want {
  std::string directory;  // below the configuration directory; empty: there
  std::string name;
  std::string bytes;
  std::string primary;  // its file's name
  std::string network;
  std::string original;            // mode in-place: the file without our entry
  std::size_t entries = 0;         // of ours in the list that a runtime reads now
  std::vector<std::string> types;  // the chain without ours, in order
  std::vector<std::string> warnings;

  std::string path() const { return directory.empty() ? name : directory + "/" + name; }
};

/// The file name of a drop-in; it sorts behind others, so that the plugin is the last one of the chain.
constexpr const char* drop_in_name = "zz-podfence.conf";

/// `versions`: what the plugin that is about to be installed speaks. `last_primary`: what the last run chained behind;
/// while that file is there and cannot be read, nothing else is taken in its place.
Result<Want> plan(const Options& options, const Scan& scan, const std::vector<std::string>& versions,
                  const std::string& last_primary);

}  // namespace podfence::install
