#include "policy/base/text.h"

#include <gtest/gtest.h>

#include <map>
#include <sstream>
#include <unordered_set>

#include "policy/base/json_writer.h"

namespace podfence {
namespace {

TEST(Text, holds_any_bytes) {
  for (const std::string& text : {std::string(), std::string("a"), std::string("a\0b", 3), std::string(10000, 'x')}) {
    const Text one(text);
    EXPECT_EQ(one, text);
    EXPECT_EQ(one.size(), text.size());
    EXPECT_EQ(one.empty(), text.empty());
    EXPECT_EQ(std::string(one), text);
  }
}

TEST(Text, compares_with_every_kind_of_text) {
  const Text b("b");
  EXPECT_TRUE(b == "b" && "b" == b && b == std::string("b") && std::string_view("b") == b && b == Text("b"));
  EXPECT_TRUE(b != "a" && Text("a") < b && b < "c" && std::string("a") < b && Text() < b && b > std::string_view("ab"));
  EXPECT_EQ(Text(), "");
}

TEST(Text, goes_where_a_string_is_wanted) {
  const Text text("web");
  const std::string copied = text;
  std::string assigned;
  assigned = text;
  assigned += text;
  EXPECT_EQ(copied + text, "webweb");
  EXPECT_EQ(assigned, "webweb");
  EXPECT_EQ("a/" + text + "/b", "a/web/b");
  EXPECT_EQ(text + text, "webweb");
  std::ostringstream out;
  out << text;
  EXPECT_EQ(out.str(), "web");
  std::string json;
  JsonWriter(json).begin_object().field("name", text).end_object();
  EXPECT_EQ(json, R"({"name":"web"})");
  const std::map<std::string, int, std::less<>> by_name{{"web", 1}};
  EXPECT_EQ(by_name.find(text)->second, 1);
  const std::unordered_set<Text> set{text};
  EXPECT_TRUE(set.contains("web"));
}

TEST(Text, copies_share_and_changes_do_not_show_through) {
  const Text one("web");
  Text two = one;
  EXPECT_TRUE(two.shares_with(one));
  EXPECT_FALSE(Text("web").shares_with(one));
  two = two + "-1";
  EXPECT_EQ(one, "web");
  EXPECT_EQ(two, "web-1");
  Text three = std::move(two);
  EXPECT_EQ(three, "web-1");
  const Text& same = three;
  three = same;
  EXPECT_EQ(three, "web-1");
  three = "";
  EXPECT_TRUE(three.empty());
}

}  // namespace
}  // namespace podfence
