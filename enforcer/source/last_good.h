#pragma once
// Copies of what files held when they were good last. A start that finds a file broken goes on with its copy, as an
// agent that kept running would: a policy does not go because somebody made a typing error before a reboot.
//
// One file for each, named by a hash of the path: a line "podfence.last-good/v1 HASH LENGTH", the path (of that
// length), a newline, the content. A copy that does not match its hash counts as none.
#include <cstddef>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>

#include "policy/base/result.h"

namespace podfence::source {

class LastGood {
 public:
  /// An empty directory name: keeps nothing, finds nothing. Otherwise it is made where it is missing.
  static Result<LastGood> open(std::string directory);

  /// Writes only what differs from the copy. `hash`: hash_of(text).
  Result<> keep(const std::string& file, std::string_view text, std::size_t hash);
  std::optional<std::string> find(const std::string& file) const;
  void forget(const std::string& file);
  /// Removes the copies of all others.
  void forget_all_but(const std::set<std::string>& files);

  static std::size_t hash_of(std::string_view text) { return std::hash<std::string_view>{}(text); }

 private:
  explicit LastGood(std::string directory) : directory_(std::move(directory)) {}
  std::string directory_;
  std::unordered_map<std::string, std::size_t> kept_;  // hashes of the copies, as far as they are known
};

}  // namespace podfence::source
