// Values in a stream that is cut anywhere; W16 and L10 are about the same below a reflector.
#include <gtest/gtest.h>

#include "enforcer/reflector/scan.h"

namespace podfence::reflector {
namespace {

/// The items of a list that comes in two pieces, "|" between them; "!" when it is refused, "?" when it is not whole.
std::string items_of(const std::string& body, std::size_t cut) {
  ListReader reader;
  std::string out;
  const auto item = [&](std::string_view text) -> Result<> {
    out += std::string(text) + "|";
    return {};
  };
  if (!reader.take(body.substr(0, cut), item) || !reader.take(body.substr(cut), item)) return "!";
  return reader.done() && reader.has_items() ? out : "?";
}

TEST(Scan, a_list_is_the_same_wherever_it_is_cut) {
  for (const auto& [body, expected] : std::vector<std::pair<std::string, std::string>>{
           {R"({"items":[]})", ""},
           {R"( { "items" : [ { "a" : [ 1 , { } ] } , {"b":"]}\"\\"} ] , "x" : -1.5e3 } )",
            R"({ "a" : [ 1 , { } ] }|{"b":"]}\"\\"}|)"},
           {R"({"a":{"items":[{}]},"items":null,"b":[[],{}],"c":"items","d":true})", ""},
           {R"({"x":1})", "?"},
           {R"({"items":[{}])", "?"},
           {R"({"items":[{},]})", "!"},
           {R"({"items":[{} {}]})", "!"},
           {R"({"items":[1]})", "!"},
           {R"({"items":{}})", "!"},
           {R"({"items":[],"items":[{}]})", "!"},
           {R"({"items":null,"items":[{}]})", "!"},
           {R"({"items":[]}{})", "!"},
           {R"({"items":[],})", "!"},
           {R"({"items" []})", "!"},
           {R"({,"items":[]})", "!"},
           {R"({"a":,"items":[]})", "!"},
           {R"([{"items":[]}])", "!"},
           {R"({"metadata":{},"metadata":{},"items":[]})", "!"},
       }) {
    for (std::size_t cut = 0; cut <= body.size(); ++cut) {
      EXPECT_EQ(items_of(body, cut), expected) << body << " cut at " << cut;
    }
  }
}

TEST(Scan, one_value_may_not_be_too_long) {
  const std::string long_text(std::size_t{16} << 20U, 'x');  // as client-go
  EXPECT_EQ(items_of(R"({"items":[{"a":")" + long_text, 20), "!");
  EXPECT_EQ(items_of(R"({"a":")" + long_text, 3), "!");
  EXPECT_EQ(items_of("{\"" + long_text, 1), "!");
  FrameReader frames;
  EXPECT_FALSE(frames.take("{\"a\":\"" + long_text, [](std::string_view) { return true; }));
}

TEST(Scan, a_frame_that_is_not_wanted_ends_the_reading) {
  FrameReader frames;
  int count = 0;
  EXPECT_TRUE(frames.take("{}\n{}{} {}", [&](std::string_view) { return ++count < 2; }));
  EXPECT_EQ(count, 2);
}

TEST(Scan, brackets_need_not_match_for_a_scanner_that_only_counts) {
  ValueScanner scanner;
  EXPECT_EQ(scanner.take("{]x"), 2U);
  EXPECT_TRUE(scanner.done());  // the decoder of the value refuses it
}

}  // namespace
}  // namespace podfence::reflector
