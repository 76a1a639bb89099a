#include "policy/base/shared_list.h"

#include <gtest/gtest.h>

#include <string>

namespace podfence {
namespace {

using List = SharedList<std::string>;

std::string text_of(const List& list) {
  std::string out;
  for (const auto& item : list) out += item + ";";
  return out;
}

TEST(SharedList, reads_like_a_vector) {
  const List list{"a", "b"};
  EXPECT_EQ(text_of(list), "a;b;");
  EXPECT_EQ(list.size(), 2U);
  EXPECT_EQ(list[1], "b");
  EXPECT_TRUE(List().empty());
  EXPECT_EQ(text_of({}), "");
  const std::vector<std::string>& items = list;
  EXPECT_EQ(items.size(), 2U);
  EXPECT_EQ(List(items), list);
}

TEST(SharedList, compares_by_items) {
  EXPECT_EQ((List{"a"}), (List{"a"}));
  EXPECT_NE((List{"a"}), (List{"b"}));
  EXPECT_LT((List{"a"}), (List{"a", "b"}));
  List emptied{"a"};
  emptied.edit().clear();
  EXPECT_EQ(emptied, List());
  EXPECT_TRUE(emptied.empty());
}

TEST(SharedList, copies_share_until_one_is_edited) {
  const List one{"a", "b"};
  List two = one;
  EXPECT_TRUE(two.shares_with(one));
  two.edit().push_back("c");
  EXPECT_FALSE(two.shares_with(one));
  EXPECT_EQ(text_of(one) + text_of(two), "a;b;a;b;c;");
  List three = two;
  three = one;
  EXPECT_TRUE(three.shares_with(one));
  three = {"y"};
  EXPECT_EQ(text_of(one) + text_of(three), "a;b;y;");
  const List moved = std::move(three);
  EXPECT_EQ(text_of(moved), "y;");
}

TEST(SharedList, edits_its_own_items_in_place) {
  List list;
  list.edit().push_back("a");
  const std::string* place = &list[0];
  list.edit()[0] = "b";
  EXPECT_EQ(&list[0], place);
  EXPECT_EQ(text_of(list), "b;");
}

}  // namespace
}  // namespace podfence
