#include "enforcer/install/json_text.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

#include "enforcer/install/conf_file.h"

namespace podfence::install {
namespace {

std::vector<std::string> elements(std::string_view text) {
  std::vector<std::string> found;
  const auto spans = plugin_spans(text);
  EXPECT_TRUE(spans);
  if (!spans) return found;
  for (const Span& span : *spans) found.emplace_back(span.of(text));
  return found;
}

TEST(JsonText, finds_the_plugins_and_nothing_else) {
  EXPECT_EQ(elements(R"({"a":{"plugins":[9]},"s":"],}\"[","plugins" : [ {"t":"]"} ,{}, 7,"x" ] ,"n":[1]})"),
            (std::vector<std::string>{R"({"t":"]"})", "{}", "7", R"("x")"}));
  EXPECT_TRUE(elements(R"({"plugins":[]})").empty());
  EXPECT_TRUE(elements(R"({})").empty());
}

TEST(JsonText, keys_that_readers_understand_differently_are_refused) {
  EXPECT_FALSE(plugin_spans(R"({"plugins":[1],"plugins":[2]})"));
  EXPECT_FALSE(plugin_spans(R"({"name":"a","name":"b"})"));
  EXPECT_FALSE(plugin_spans(R"({"plu\u0067ins":[1]})"));
  EXPECT_FALSE(plugin_spans("[1]"));
}

TEST(JsonText, an_element_is_set_off_as_the_last_one_is) {
  EXPECT_EQ(with_element("{\"plugins\":[\n\t{}\n]}", "{\"a\":1}"), "{\"plugins\":[\n\t{},\n\t{\"a\":1}\n]}");
  EXPECT_EQ(with_element(R"({"plugins":[{}]})", "{}"), R"({"plugins":[{},{}]})");
  EXPECT_EQ(without_elements(R"({"plugins":[ 1, 2 ,3 ]})", {0}), R"({"plugins":[ 2 ,3 ]})");
  EXPECT_EQ(without_elements(R"({"plugins":[ 1, 2 ,3 ]})", {1, 2}), R"({"plugins":[ 1 ]})");
  EXPECT_EQ(without_elements(R"({"plugins":[ 1 ]})", {0}), R"({"plugins":[  ]})");
}

/// A list with random spaces, keys, strings and nesting.
class Writer {
 public:
  explicit Writer(unsigned seed) : random_(seed) {}
  std::string list() {
    std::string text = space() + "{" + space();
    if (coin()) text += "\"before\":" + value(2) + space() + "," + space();
    text += "\"cniVersion\"" + space() + ":" + space() + "\"1.0.0\"," + space() + "\"name\":\"n\"," + space();
    text += "\"plugins\":" + space() + "[" + space();
    const unsigned count = 1 + pick(4);
    for (unsigned i = 0; i < count; ++i) {
      text += (i > 0 ? space() + "," + space() : "") + "{" + space() + "\"type\":\"bridge\"" +
              (coin() ? "," + space() + "\"k\":" + value(3) : "") + space() + "}";
    }
    text += space() + "]" + space();
    if (coin()) text += "," + space() + "\"after\":" + value(2) + space();
    return text + "}" + space();
  }

 private:
  unsigned pick(unsigned below) { return static_cast<unsigned>(random_()) % below; }
  bool coin() { return pick(2) == 0; }
  std::string space() {
    std::string text;
    for (unsigned i = pick(3); i > 0; --i) text += " \t\r\n"[pick(4)];
    return text;
  }
  std::string value(unsigned depth) {
    switch (pick(depth > 0 ? 6 : 4)) {
      case 0:
        return "1.50e1";
      case 1:
        return R"("\"]},\\")";
      case 2:
        return "null";
      case 3:
        return R"("[{:")";
      case 4:
        return "[" + space() + value(depth - 1) + space() + "," + value(depth - 1) + "]";
      default:
        return "{" + space() + R"("plugins":)" + value(depth - 1) + "}";
    }
  }
  std::mt19937 random_;
};

TEST(JsonText, rule_10_taking_out_what_was_put_in_gives_the_same_bytes) {
  const char* given = std::getenv("PODFENCE_SEED");
  const unsigned seed =
      given != nullptr ? static_cast<unsigned>(std::strtoul(given, nullptr, 10)) : std::random_device{}();
  std::printf("PODFENCE_SEED=%u\n", seed);
  const std::string entry = entry_text({}, {Mode::in_place, "10-a.conflist"});
  Writer writer(seed);
  for (int round = 0; round < 3000; ++round) {
    const std::string text = writer.list();
    const auto conf = parse_conf("10-a.conflist", text);
    ASSERT_TRUE(conf) << conf.error().what() << "\n" << text;
    const auto put = parse_conf("10-a.conflist", chained(*conf, entry));
    ASSERT_TRUE(put) << put.error().what() << "\n" << text;
    ASSERT_EQ(put->plugins.size(), conf->plugins.size() + 1);
    ASSERT_TRUE(put->plugins.back().mark) << put->bytes;
    ASSERT_EQ(unchained(*put), text);
    // A second entry, and one of another run, are the same as one.
    ASSERT_EQ(chained(*put, entry), put->bytes);
  }
}

TEST(ConfFile, cuts_and_flipped_bytes_are_refused_or_read) {
  const std::string whole = Writer(1).list();
  for (std::size_t i = 0; i < whole.size(); ++i) {
    (void)parse_conf("a.conflist", whole.substr(0, i));
    for (const char c : {'\0', '"', '{', '\\', '\xff'}) {
      std::string other = whole;
      other[i] = c;
      if (const auto conf = parse_conf("a.conflist", other)) (void)chained(*conf, "{}");
    }
  }
}

}  // namespace
}  // namespace podfence::install
