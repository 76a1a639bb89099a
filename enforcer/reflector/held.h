#pragma once
// What the store holds of one type, by name and version only, so that a list says what is new, what is gone, and what
// need not be decoded again. A list is staged: nothing changes before it is complete.
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "policy/api/item_decoder.h"
#include "policy/base/flat_table.h"
#include "policy/base/text.h"
#include "policy/store/cluster.h"

namespace podfence::reflector {

/// An object whose content cannot be taken as it is.
struct Problem {
  bool stale = false;  // its last good content is in force; otherwise the narrow reading of it, or nothing
  std::vector<std::string> messages;
};

class Held {
 public:
  explicit Held(api::Kind kind) : kind_(kind), decoder_(kind) {}

  api::ItemDecoder& decoder() { return decoder_; }
  std::size_t size() const { return entries_.size(); }
  /// The version of an object that it has, as a number that grows (revision.h).
  std::optional<std::uint64_t> version_of(const api::ObjectKey& key) const;
  void for_each(const std::function<void(const api::ObjectKey& key, std::uint64_t version)>& visit) const;
  const std::map<std::string, Problem>& problems() const { return problems_; }

  /// An event of the watch, whose object the decoder has.
  std::vector<store::Event> put(const api::ItemHead& head);
  std::vector<store::Event> remove(const api::ItemHead& head);

  /// A list begins anew: what was staged is forgotten.
  void begin_list();
  /// An item of the list, whose object the decoder has. `cursor`: up to where every event has been seen.
  void stage(const api::ItemHead& head, const std::string& cursor);
  struct Difference {
    std::vector<store::Event> events;
    std::size_t changed = 0;  // new ones, too
    std::size_t gone = 0;
    std::size_t old_news = 0;  // of the changed ones: not newer than the cursor, so that an event was missed
  };
  /// The list is complete. What it does not have is removed.
  Difference end_list();

 private:
  struct Entry {
    Text key;
    std::uint64_t uid = 0;      // a hash
    std::uint64_t version = 0;  // see revision.h
    std::uint32_t key_hash = 0;
    std::uint32_t round = 0;  // of the list that had it last
    bool good = false;        // what the store has came from a content without errors
    bool used() const { return !key.empty(); }
    std::size_t hash() const { return key_hash; }
  };
  /// What becomes of an object when the list is complete, or at once.
  struct News {
    Entry entry;
    std::optional<api::Object> object;  // nothing: what is in force stays
    std::unique_ptr<Problem> problem;
    bool old = false;
  };

  Entry* find(const Entry& wanted);
  Entry entry_of(const api::ItemHead& head) const;
  bool is_known(const Entry& entry);
  News read(const Entry& entry);
  void apply(News news, std::vector<store::Event>& events);
  api::ObjectKey object_key(const Text& key) const;

  api::Kind kind_;
  api::ItemDecoder decoder_;
  FlatTable<Entry> entries_;
  std::map<std::string, Problem> problems_;
  std::deque<News> staged_;  // gives its memory back while it is emptied
  std::uint32_t round_ = 0;
};

}  // namespace podfence::reflector
