#pragma once
// A hash table in one array: open addressing, linear probing, at most 7/8 full. For small entries of which there are
// as many as pods: it has no node and no pointer for each. Several entries may have the same hash; what makes two of
// them the same is the caller's business.
#include <cstddef>
#include <utility>
#include <vector>

namespace podfence {

/// Entry{} is a free place; `entry.used()` says whether one is taken, `entry.hash()` where a taken one belongs.
template <class Entry>
class FlatTable {
 public:
  std::size_t size() const { return size_; }

  /// The first entry of that hash for which is_it(entry), or null. is_it may be asked about entries of other hashes.
  template <class IsIt>
  const Entry* find(std::size_t hash, const IsIt& is_it) const {
    const std::size_t at = place_of(hash, is_it);
    return at == none ? nullptr : &entries_[at];
  }
  template <class IsIt>
  Entry* find(std::size_t hash, const IsIt& is_it) {
    const std::size_t at = place_of(hash, is_it);
    return at == none ? nullptr : &entries_[at];
  }

  /// Calls f(entry) for every entry of that hash, and for some of other hashes.
  template <class F>
  void for_each_near(std::size_t hash, F&& f) const {
    find(hash, [&](const Entry& entry) {
      f(entry);
      return false;
    });
  }

  /// Besides others of the same hash. Places of entries do not survive it.
  void insert(const Entry& entry) {
    if ((size_ + 1) * 8 > entries_.size() * 7) resize(entries_.empty() ? 16 : entries_.size() * 2);
    ++size_;
    entries_[free_place(entry.hash())] = entry;
  }

  /// An entry that find() gave. Those after it move up, so that no probe meets a hole before its goal.
  void erase(const Entry* entry) {
    auto hole = static_cast<std::size_t>(entry - entries_.data());
    const std::size_t mask = entries_.size() - 1;
    entries_[hole] = Entry{};
    --size_;
    for (std::size_t next = after(hole); entries_[next].used(); next = after(next)) {
      const std::size_t home = home_of(entries_[next].hash());
      if (((next - home) & mask) < ((next - hole) & mask)) continue;  // it lies between its home and the hole: stays
      entries_[hole] = std::exchange(entries_[next], Entry{});
      hole = next;
    }
  }

  /// Calls f(entry) for every entry. The table must not change meanwhile.
  template <class F>
  void for_each(F&& f) const {
    for (const Entry& entry : entries_) {
      if (entry.used()) f(entry);
    }
  }

 private:
  static constexpr std::size_t none = static_cast<std::size_t>(-1);

  template <class IsIt>
  std::size_t place_of(std::size_t hash, const IsIt& is_it) const {
    if (entries_.empty()) return none;
    for (std::size_t at = home_of(hash); entries_[at].used(); at = after(at)) {
      if (is_it(entries_[at])) return at;
    }
    return none;
  }
  std::size_t home_of(std::size_t hash) const { return hash & (entries_.size() - 1); }
  std::size_t after(std::size_t at) const { return (at + 1) & (entries_.size() - 1); }
  std::size_t free_place(std::size_t hash) const {
    std::size_t at = home_of(hash);
    while (entries_[at].used()) at = after(at);
    return at;
  }
  void resize(std::size_t places) {
    std::vector<Entry> old = std::exchange(entries_, std::vector<Entry>(places));
    for (const Entry& entry : old) {
      if (entry.used()) entries_[free_place(entry.hash())] = entry;
    }
  }

  std::vector<Entry> entries_;  // a power of two of them, or none
  std::size_t size_ = 0;
};

}  // namespace podfence
