#include "policy/api/yaml_scalar.h"

#include <gtest/gtest.h>

#include <vector>

#include "policy/api/yaml_reader.h"

namespace podfence::api {
namespace {

struct Case {
  std::string yaml;
  std::string json;
};

/// The JSON text of all documents, joined by " ; ".
std::string json_of(std::string_view yaml) {
  const Limits limits;
  YamlReader reader(yaml, limits);
  YamlDocument document;
  std::string out;
  while (true) {
    const auto more = reader.next(document);
    if (!more) return "FAILED " + more.error().what();
    if (!*more) return out;
    if (!out.empty()) out += " ; ";
    out += document.json;
  }
}

TEST(YamlScalar, means_what_it_means_to_kubectl) {
  const std::vector<Case> cases{
      {"a", "\"a\""},
      {"''", "\"\""},
      {"~", "null"},
      {"null", "null"},
      {"Null", "null"},
      {"NULL", "null"},
      {"nULL", "\"nULL\""},
      {"'null'", "\"null\""},
      {"\"~\"", "\"~\""},
      {"true", "true"},
      {"True", "true"},
      {"TRUE", "true"},
      {"tRue", "\"tRue\""},
      {"yes", "true"},
      {"Yes", "true"},
      {"YES", "true"},
      {"y", "true"},
      {"Y", "true"},
      {"on", "true"},
      {"On", "true"},
      {"ON", "true"},
      {"oN", "\"oN\""},
      {"false", "false"},
      {"no", "false"},
      {"n", "false"},
      {"N", "false"},
      {"off", "false"},
      {"'yes'", "\"yes\""},
      {"\"no\"", "\"no\""},
      {"nope", "\"nope\""},
      {"0", "0"},
      {"80", "80"},
      {"-80", "-80"},
      {"+80", "80"},
      {"-0", "0"},
      {"'80'", "\"80\""},
      {"\"80\"", "\"80\""},
      {"1_000", "1000"},
      {"0x50", "80"},
      {"0X50", "80"},
      {"-0x10", "-16"},
      {"0b101", "5"},
      {"0o17", "15"},
      {"017", "15"},
      {"08", "8"},
      {"0x", "\"0x\""},
      {"0xg", "\"0xg\""},
      {"0b2", "\"0b2\""},
      {"80a", "\"80a\""},
      {"1.5", "1.5"},
      {"80.0", "80"},
      {"-1.5", "-1.5"},
      {".5", "0.5"},
      {"1.", "1"},
      {"1e3", "1000"},
      {"1e+3", "1000"},
      {"1E-3", "0.001"},
      {"1e", "\"1e\""},
      {".", "\".\""},
      {"-", "[null]"},
      {"1.2.3", "\"1.2.3\""},
      {"10.0.0.1", "\"10.0.0.1\""},
      {"10.0.0.0/8", "\"10.0.0.0/8\""},
      {"1:20", "\"1:20\""},
      {"-a", "\"-a\""},
      {"+", "\"+\""},
      {"_", "\"_\""},
      {"1e999", "\"1e999\""},
      {".nan", "\".nan\""},
      {".inf", "\".inf\""},
      {"2024-01-02", "\"2024-01-02\""},
      {"2024-01-02T03:04:05Z", "\"2024-01-02T03:04:05Z\""},
      {"9223372036854775807", "9223372036854775807"},
      {"-9223372036854775808", "-9223372036854775808"},
      {"18446744073709551615", "18446744073709551615"},
      {"100000000000000000000", "1e+20"},
      {"-9223372036854775809", "-9.223372036854776e+18"},
      {"!!str 80", "\"80\""},
      {"! 80", "\"80\""},
      {"!!int 80", "80"},
      {"!!bool yes", "true"},
      {"!!null ~", "null"},
      {"!!float 1.5", "1.5"},
      {"|\n  a\n  b\n", "\"a\\nb\\n\""},
      {">-\n  a\n  b\n", "\"a b\""},
      {"'it''s'", "\"it's\""},
      {"\"a\\tb\\u00e9\"", "\"a\\tb\xc3\xa9\""},
      {"a b c", "\"a b c\""},
      {"\xef\xbb\xbf"
       "a: b",
       "{\"a\":\"b\"}"},
  };
  for (const auto& c : cases) EXPECT_EQ(json_of(c.yaml), c.json) << c.yaml;
}

TEST(YamlReader, makes_json_of_documents) {
  const std::vector<Case> cases{
      {"", ""},
      {"---\n", "null"},
      {"a: 1\n---\n- b\n- {c: d}\n", "{\"a\":1} ; [\"b\",{\"c\":\"d\"}]"},
      {"{}", "{}"},
      {"[]", "[]"},
      {"[[], {}, [{}]]", "[[],{},[{}]]"},
      {"a:\nb:\n", "{\"a\":null,\"b\":null}"},
      {"a:\n- b\n-\n- c: d\n  e: f\n", "{\"a\":[\"b\",null,{\"c\":\"d\",\"e\":\"f\"}]}"},
      {"{a, b: c}", "{\"a\":null,\"b\":\"c\"}"},
      {"[a: b]", "[{\"a\":\"b\"}]"},
      {"? a\n: b\n", "{\"a\":\"b\"}"},
      {"1: a\n0x10: b\ntrue: c\noff: d\n1.50: e\n",
       "{\"1\":\"a\",\"16\":\"b\",\"true\":\"c\",\"false\":\"d\",\"1.5\":\"e\"}"},
      {"%YAML 1.1\n---\na: b\n", "{\"a\":\"b\"}"},
      {"a: b # c\n# d\n", "{\"a\":\"b\"}"},
      {"a: 'x\n\n  y'\n", "{\"a\":\"x\\ny\"}"},
      {"\"a\\\"b\": \"\\\\\"\n", "{\"a\\\"b\":\"\\\\\"}"},
  };
  for (const auto& c : cases) EXPECT_EQ(json_of(c.yaml), c.json) << c.yaml;
}

TEST(YamlReader, knows_the_line_of_every_value) {
  const Limits limits;
  YamlReader reader("a:\n  b: 1\n  c:\n  - x\n  - {k: z}\nd: 2\n", limits);
  YamlDocument document;
  ASSERT_TRUE(reader.next(document).value_or(false));
  EXPECT_EQ(document.json, "{\"a\":{\"b\":1,\"c\":[\"x\",{\"k\":\"z\"}]},\"d\":2}");
  std::vector<std::pair<unsigned, unsigned>> lines;
  for (const auto& line : document.lines) lines.emplace_back(line.line, line.next);
  const std::vector<std::pair<unsigned, unsigned>> expected{{1, 8}, {2, 7}, {2, 3}, {4, 7},
                                                            {4, 5}, {5, 7}, {5, 7}, {6, 8}};
  EXPECT_EQ(lines, expected);
}

}  // namespace
}  // namespace podfence::api
