#pragma once
// Which file has which objects, and which file counts for an object that several have: the first one by path. Holds
// keys and fingerprints only. Changes are collected until settle() says which objects are different for the world.
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "policy/api/meta.h"
#include "policy/base/flat_table.h"
#include "policy/base/text.h"

namespace podfence::source {

/// An object key in one string.
Text packed(const api::ObjectKey& key);
api::ObjectKey unpacked(std::string_view key);

struct Claim {
  Text key;  // packed
  std::uint64_t fingerprint = 0;
};

class Claims {
 public:
  /// What the file has from now on; sorted by key, each once. Nothing: the file is gone.
  void replace(const std::string& file, const std::vector<Claim>& claims);

  struct Outcome {
    Text key;
    std::string file;  // the file that counts now; "" when no file has the object any more
    std::uint64_t fingerprint = 0;
  };
  /// The objects that are not what they were at the last call.
  std::vector<Outcome> settle();

  /// The object that counts is not the one that is known to the world: the next content of the file will be news.
  void forget_fingerprint(const std::string& file, std::string_view key);

  std::size_t count(const std::string& file) const;
  /// Keys that the file has but another file has first.
  const std::set<Text>& lost(const std::string& file) const;
  /// The file that counts for a key, or nothing.
  std::optional<std::string> winner(std::string_view key) const;

 private:
  struct Slot {
    std::uint32_t offset = 0;
    std::uint32_t size = 0;
    std::uint64_t fingerprint = 0;
  };
  struct File {
    std::string path;
    std::string keys;  // all of them in one piece
    std::vector<Slot> slots;
    std::set<Text> lost;
    std::string_view key(const Slot& slot) const { return std::string_view(keys).substr(slot.offset, slot.size); }
  };

  /// By the hash of a key: a file that has it.
  struct Holder {
    File* file = nullptr;
    std::uint32_t key_hash = 0;
    bool used() const { return file != nullptr; }
    std::size_t hash() const { return key_hash; }
  };

  static const Slot* find(const File& file, std::string_view key);
  void touch(const Text& key);
  void drop(File& file);
  /// The file that counts, and marks all that have the key as winner or loser.
  const File* decide(const Text& key);
  /// Calls visit(file, slot) for every file that has the key; for some perhaps twice.
  template <class F>
  void each_with(std::string_view key, const F& visit) const;

  std::map<std::string, File> files_;
  FlatTable<Holder> holders_;
  std::map<Text, std::optional<std::uint64_t>> before_;
};

}  // namespace podfence::source
