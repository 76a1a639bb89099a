#include "policy/base/flat_table.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <set>

namespace podfence {
namespace {

struct Entry {
  std::uint32_t key = 0;
  std::uint32_t value = 0;
  bool used() const { return value != 0; }
  std::size_t hash() const { return key; }
  friend auto operator<=>(const Entry&, const Entry&) = default;
};
using Table = FlatTable<Entry>;
using Model = std::multiset<Entry>;

Model content_of(const Table& table) {
  Model out;
  table.for_each([&](const Entry& entry) { out.insert(entry); });
  return out;
}

// Against the plainest thing that does the same. Few keys, which lie side by side, so that they meet and wrap around.
TEST(FlatTable, does_what_a_multiset_does) {
  for (const std::uint32_t keys : {1U, 7U, 40U, 5000U}) {
    std::mt19937 engine(keys);
    const auto random = [&] { return static_cast<std::uint32_t>(engine()); };
    Table table;
    Model model;
    for (int i = 0; i < 20000; ++i) {
      const Entry entry{random() % keys * 0x10001U - 3, 1 + random() % 3};
      const auto is_it = [&](const Entry& other) { return other == entry; };
      const Entry* found = table.find(entry.key, is_it);
      ASSERT_EQ(found != nullptr, model.contains(entry));
      if (found != nullptr && random() % 2 == 0) {
        table.erase(found);
        model.erase(model.find(entry));
      } else if (model.size() < 3 * keys) {
        table.insert(entry);
        model.insert(entry);
      }
      ASSERT_EQ(table.size(), model.size());
    }
    ASSERT_EQ(content_of(table), model);
    for (const Entry& entry : model) {
      ASSERT_NE(table.find(entry.key, [&](const Entry& other) { return other == entry; }), nullptr);
    }
  }
}

TEST(FlatTable, an_empty_one_has_nothing) {
  const Table table;
  EXPECT_EQ(table.find(0, [](const Entry&) { return true; }), nullptr);
  EXPECT_EQ(table.size(), 0U);
}

}  // namespace
}  // namespace podfence
