#include "policy/base/json_writer.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

namespace podfence {
namespace {

std::string json_string(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

TEST(JsonString, escapes) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"", R"("")"},
      {"plain", R"("plain")"},
      {"a\"b\\c/d", R"("a\"b\\c/d")"},
      {"\n\r\t", R"("\n\r\t")"},
      {std::string("\0\x01\x1f", 3), R"("\u0000\u0001\u001f")"},
      {"\x7f", R"("\u007f")"},
      {"\x1b[31m", R"("\u001b[31m")"},
      {"\xc3\xa9", "\"\xc3\xa9\""},
      {"\xe2\x82\xac", "\"\xe2\x82\xac\""},
      {"\xf0\x9f\x98\x80", "\"\xf0\x9f\x98\x80\""},
      {"\xc2\x85\xc2\x9f", R"("\u0085\u009f")"},  // C1 control characters
      {"\xc2\xa0", "\"\xc2\xa0\""},
      {"\xe2\x80\xa8\xe2\x80\xa9", R"("\u2028\u2029")"},
      // What is no UTF-8
      {"\xff", R"("\ufffd")"},
      {"a\x80z", R"("a\ufffdz")"},
      {"\xc3", R"("\ufffd")"},
      {"\xc3(", R"("\ufffd(")"},
      {"\xc0\xaf", R"("\ufffd\ufffd")"},
      {"\xe0\x80\xaf", R"("\ufffd\ufffd\ufffd")"},
      {"\xed\xa0\x80", R"("\ufffd\ufffd\ufffd")"},
      {"\xf4\x90\x80\x80", R"("\ufffd\ufffd\ufffd\ufffd")"},
      {"\xf0\x9f\x98", R"("\ufffd\ufffd\ufffd")"},
      {"\xe2\x82", R"("\ufffd\ufffd")"},
  };
  for (const auto& [text, json] : cases) EXPECT_EQ(json_string(text), json);
}

TEST(JsonWriter, puts_commas_and_colons) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object();
  writer.field("a", 1).field("b", "x").field("c", true).key("d").null();
  writer.key("e").begin_array().end_array();
  writer.key("f")
      .begin_array()
      .value(1)
      .value(-2)
      .begin_object()
      .end_object()
      .begin_array()
      .value("y")
      .end_array()
      .end_array();
  writer.key("g").begin_object().field("h", false).end_object();
  writer.key("i").raw("[0]");
  writer.field("j\n", std::string("k"));
  writer.end_object();
  EXPECT_EQ(out, R"({"a":1,"b":"x","c":true,"d":null,"e":[],"f":[1,-2,{},["y"]],"g":{"h":false},"i":[0],"j\n":"k"})");
}

TEST(JsonWriter, writes_numbers) {
  std::string out;
  JsonWriter(out)
      .begin_array()
      .value(std::numeric_limits<std::uint64_t>::max())
      .value(std::numeric_limits<std::int64_t>::min())
      .value(std::uint8_t{7})
      .value(0.5)
      .value(1e9)
      .end_array();
  EXPECT_EQ(out, "[18446744073709551615,-9223372036854775808,7,0.5,1e+09]");
}

TEST(JsonWriter, appends) {
  std::string out = "x: ";
  JsonWriter(out).value("y");
  EXPECT_EQ(out, "x: \"y\"");
}

}  // namespace
}  // namespace podfence
