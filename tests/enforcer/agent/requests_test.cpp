// Requests are untrusted input.
#include "enforcer/agent/requests.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/support/random_world.h"

namespace podfence::agent {
namespace {

using namespace std::literals;

TEST(Requests, have_a_command_texts_and_flags) {
  const auto request = parse_request(R"({"command":"explain","from":"a/b","port":"80","json":true,"all":false})");
  ASSERT_TRUE(request) << request.error().what();
  EXPECT_EQ(request->command, "explain");
  EXPECT_EQ(request->text("from"), "a/b");
  EXPECT_EQ(request->text("port"), "80");
  EXPECT_EQ(request->text("to"), "");
  EXPECT_TRUE(request->flag("json"));
  EXPECT_FALSE(request->flag("all"));
  EXPECT_FALSE(request->flag("other"));
  EXPECT_EQ(request->text("json"), "") << "a flag is no text";
}

TEST(Requests, have_numbers_and_lists) {
  const auto request = parse_request(
      R"({"command":"add","mtu":1500,"ips":["10.0.0.1","fd00::1"],"links":[{"name":"eth0","mac":"m"},{}],"none":[]})");
  ASSERT_TRUE(request) << request.error().what();
  EXPECT_EQ(request->number("mtu"), 1500);
  EXPECT_EQ(request->number("ips"), std::nullopt);
  ASSERT_NE(request->list("ips"), nullptr);
  EXPECT_EQ(*request->list("ips"), (Request::Texts{"10.0.0.1", "fd00::1"}));
  EXPECT_EQ(request->object_list("ips"), nullptr);
  ASSERT_NE(request->object_list("links"), nullptr);
  EXPECT_EQ(request->object_list("links")->at(0).at("name"), "eth0");
  EXPECT_EQ(request->object_list("links")->size(), 2u);
  EXPECT_EQ(request->list("links"), nullptr);
  EXPECT_TRUE(request->list("none")->empty());
  EXPECT_TRUE(request->object_list("none")->empty());
  EXPECT_EQ(request->text("mtu"), "");
}

TEST(Requests, that_are_wrong_are_refused_with_what_is_wrong) {
  struct Case {
    const char* name;
    std::string json;
    std::string says;
  };
  const Case cases[] = {
      {"empty", "", "no JSON object"},
      {"blank", "  \t ", "no JSON object"},
      {"no JSON", "status", "no JSON object"},
      {"half", R"({"command":"status")", "no JSON object"},
      {"two", R"({"command":"status"}{"command":"status"})", "no JSON object"},
      {"array", R"(["command"])", "no JSON object"},
      {"text", R"("status")", "no JSON object"},
      {"null", "null", "no JSON object"},
      {"no command", R"({"from":"a"})", "'command'"},
      {"empty command", R"({"command":""})", "'command'"},
      {"command is a flag", R"({"command":true})", "'command'"},
      {"command is a number", R"({"command":1})", "'command'"},
      {"fraction", R"({"command":"x","port":8.5})", "'port'"},
      {"number out of range", R"({"command":"x","port":18446744073709551615})", "'port'"},
      {"null field", R"({"command":"x","from":null})", "'from'"},
      {"list of numbers", R"({"command":"x","from":[1]})", "'from'"},
      {"list of lists", R"({"command":"x","from":[["a"]]})", "'from'"},
      {"mixed list", R"({"command":"x","from":["a",{"b":"c"}]})", "'from'"},
      {"list of deeper objects", R"({"command":"x","from":[{"a":{"b":"c"}}]})", "'from'"},
      {"object", R"({"command":"x","from":{"a":"b"}})", "'from'"},
      {"command twice", R"({"command":"status","command":"stop"})", "'command'"},
      {"field twice, of two types", R"({"command":"x","from":"a","from":true})", "'from'"},
      {"invalid UTF-8", "{\"command\":\"\xff\xfe\"}", "no JSON object"},
      {"raw control character", "{\"command\":\"a\x01\"}", "no JSON object"},
      {"zero byte", "{\"command\":\"a\0\"}"s, "no JSON object"},
      {"half a surrogate", R"({"command":"\ud800"})", "no JSON object"},
      {"very deep", std::string(5000, '[') + std::string(5000, ']'), "no JSON object"},
      {"very deep field", R"({"command":"x","a":)" + std::string(5000, '[') + std::string(5000, ']') + "}", "JSON"},
  };
  for (const auto& one : cases) {
    SCOPED_TRACE(one.name);
    const auto request = parse_request(one.json);
    ASSERT_FALSE(request);
    EXPECT_EQ(request.error().code(), Errc::invalid);
    EXPECT_NE(request.error().what().find(one.says), std::string::npos) << request.error().what();
  }
}

TEST(Requests, of_random_bytes_are_taken_or_refused) {
  const auto seed = test::seed_of_run();
  std::cout << "PODFENCE_SEED=" << seed << std::endl;
  std::mt19937_64 random(seed);
  const std::string good = R"({"command":"explain","from":"a/b","to":"10.0.0.1","json":true,"x":"\u00e9\n"})";
  std::size_t taken = 0;
  for (int i = 0; i < 20'000; ++i) {
    auto text = good;
    for (std::uint64_t changes = 1 + random() % 4; changes > 0; --changes) {
      const auto at = random() % text.size();
      if (random() % 3 == 0) {
        text.erase(at, 1 + random() % 3);
      } else {
        text[at] = static_cast<char>(random() % 256);
      }
      if (text.empty()) break;
    }
    const auto request = parse_request(text);
    if (!request) continue;
    ++taken;
    ASSERT_FALSE(request->command.empty());
  }
  EXPECT_GT(taken, 0u);
}

}  // namespace
}  // namespace podfence::agent
