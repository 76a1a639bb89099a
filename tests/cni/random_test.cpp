// Random and broken input, from the runtime and from the agent: an answer that is allowed, always. And the law of the
// raw texts: what is found in a text is the text that was put there.
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

#include "cni/message.h"
#include "cni/raw_json.h"
#include "tests/cni/fakes.h"

namespace podfence::test {
namespace {

std::uint64_t from_env(const char* variable, std::uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

class Dice {
 public:
  explicit Dice(std::uint64_t seed) : random_(seed) {}
  std::size_t below(std::size_t n) { return n == 0 ? 0 : random_() % n; }
  char byte() { return static_cast<char>(random_() & 0xffU); }

  std::string noise(std::size_t longest) {
    std::string text(below(longest + 1), ' ');
    for (char& c : text) c = byte();
    return text;
  }

  /// A few bytes changed, lost, doubled; or the text cut; or one of the words that mean something put into it.
  std::string damaged(std::string text) {
    static const std::vector<std::string> words = {"{",
                                                   "}",
                                                   "[",
                                                   "]",
                                                   "\"",
                                                   "\\",
                                                   "\\u0000",
                                                   ",",
                                                   ":",
                                                   "null",
                                                   "-1",
                                                   "1e999",
                                                   "\"interface\":99",
                                                   "\"prevResult\":",
                                                   "\xff",
                                                   "99999999999999999999",
                                                   "[[[[[["};
    for (std::size_t i = 1 + below(4); i > 0 && !text.empty(); --i) {
      const std::size_t at = below(text.size());
      switch (below(6)) {
        case 0:
          text[at] = byte();
          break;
        case 1:
          text.erase(at, 1 + below(8));
          break;
        case 2:
          text.insert(at, text.substr(at, below(30)));
          break;
        case 3:
          text.resize(at);
          break;
        default:
          text.insert(at, words[below(words.size())]);
      }
    }
    return text;
  }

  /// A JSON text with white space, escapes and numbers as no printer would write them.
  std::string value(std::size_t depth) {
    static const std::vector<std::string> plain = {"1.00",         "-0",
                                                   "1E+2",         "true",
                                                   "null",         R"("a\u0062\"}{][,:")",
                                                   "\"\"",         R"("\\")",
                                                   "\"\xc3\xa4\"", "123456789012345678901234567890"};
    if (depth == 0 || below(3) == 0) return plain[below(plain.size())];
    const bool object = below(2) == 0;
    std::string text(1, object ? '{' : '[');
    for (std::size_t i = 0, n = below(4); i < n; ++i) {
      if (i > 0) text += space() + ",";
      text += space();
      if (object) text += R"("k)" + std::to_string(i) + "\"" + space() + ":" + space();
      text += value(depth - 1);
    }
    return text + space() + (object ? '}' : ']');
  }

  std::string space() { return std::string(below(3), " \t\n\r"[below(4)]); }

 private:
  std::mt19937_64 random_;
};

class Random : public ::testing::Test {
 protected:
  std::uint64_t seed = from_env("PODFENCE_SEED", std::random_device{}());
  ::testing::ScopedTrace trace{__FILE__, __LINE__, "PODFENCE_SEED=" + std::to_string(seed)};
  Dice dice{seed};
  std::size_t rounds = from_env("PODFENCE_WORLDS", 5000);
};

void expect_allowed(const Answer& answer, const std::string& command, const std::string& input) {
  if (answer.status == 0) {
    EXPECT_TRUE(command == "ADD" || answer.out.empty()) << input;
    return;
  }
  EXPECT_EQ(answer.status, 1);
  const Json error = answer.json();
  ASSERT_TRUE(error.is_object()) << answer.out;
  EXPECT_TRUE(error["code"].is_number_unsigned());
  EXPECT_NE(answer.code(), 999) << answer.out << "\n" << input;
  EXPECT_FALSE(error["msg"].get<std::string>().empty());
}

// P9, A5, A8
TEST_F(Random, P09_A05_A08_input_gets_a_result_or_an_error_object) {
  const std::vector<std::string> commands = {"ADD", "DEL", "CHECK", "GC", "STATUS"};
  std::size_t succeeded = 0;
  for (std::size_t i = 0; i < rounds; ++i) {
    Call call;
    call.cni_version = "1.1.0";
    call.extra = R"("cni.dev/valid-attachments":[{"containerID":"a","ifname":"eth0"}],"deadlineSeconds":5,)";
    call.env.args = dice.below(3) == 0 ? dice.noise(40) : dice.damaged("K8S_POD_NAME=web;K8S_POD_NAMESPACE=shop");
    if (dice.below(8) == 0) call.env.container_id = dice.noise(10);
    if (dice.below(8) == 0) call.env.ifname = dice.noise(10);
    const std::string input = dice.below(10) == 0 ? dice.noise(300) : dice.damaged(call.config());
    const std::string command = commands[dice.below(commands.size())];
    const Answer answer = call.run_with(command, input);
    succeeded += answer.status == 0 ? 1 : 0;
    expect_allowed(answer, command, input);
  }
  EXPECT_GT(succeeded, 0U) << "the damage is too much to reach anything";
  EXPECT_LT(succeeded, rounds);
}

TEST_F(Random, answers_of_the_agent_are_success_or_failure) {
  for (std::size_t i = 0; i < rounds; ++i) {
    const std::string text = dice.below(3) == 0 ? dice.noise(60) : dice.damaged(R"({"ok":true,"error":"x","code":11})");
    const auto outcome = cni::read_answer(text);
    if (!outcome) {
      EXPECT_NE(static_cast<std::uint32_t>(outcome.error().code()), 0U) << text;
    } else {
      EXPECT_EQ(Json::parse(text)["ok"], true) << text;
    }
    cni::host_interface_of(text);
  }
}

// A2
TEST_F(Random, A02_any_value_is_found_and_replaced_byte_for_byte) {
  for (std::size_t i = 0; i < rounds; ++i) {
    const std::string wanted = dice.value(4);
    std::string text = dice.space() + "{" + dice.space();
    const std::size_t before = dice.below(3);
    for (std::size_t k = 0; k < before; ++k)
      text += R"("p)" + std::to_string(k) + "\":" + dice.value(3) + dice.space() + ",";
    const std::string key = dice.below(2) == 0 ? "\"prevResult\"" : R"("prev\u0052esult")";
    const std::string head = text + dice.space() + key + dice.space() + ":" + dice.space();
    const std::string tail = dice.space() + (dice.below(2) == 0 ? ",\"z\":" + dice.value(3) : "") + dice.space() + "}";
    text = head + wanted + tail;
    ASSERT_TRUE(Json::accept(text)) << text;
    EXPECT_EQ(cni::raw_member(text, "prevResult"), wanted) << text;
    EXPECT_EQ(cni::with_member(text, "prevResult", "5"), head + "5" + tail);
    EXPECT_FALSE(cni::raw_member(text, "absent"));
    const std::string longer = cni::with_member(text, "absent", "6");
    EXPECT_EQ(Json::parse(longer, nullptr, false)["absent"], 6) << longer;
    EXPECT_EQ(longer.size(), text.size() + std::string(R"("absent":6,)").size());
  }
}

TEST_F(Random, broken_text_never_sends_the_scanner_astray) {
  for (std::size_t i = 0; i < rounds; ++i) {
    const std::string text =
        dice.damaged("{" + dice.space() + R"("a":)" + dice.value(3) + R"(,"prevResult":)" + dice.value(3) + "}");
    const auto found = cni::raw_member(text, "prevResult");
    if (found) {
      EXPECT_GE(found->data(), text.data());
      EXPECT_LE(found->data() + found->size(), text.data() + text.size());
    }
  }
}

TEST(RawJson, the_last_of_several_counts_and_inner_ones_do_not) {
  EXPECT_EQ(cni::raw_member(R"({"a":{"x":1},"x":2,"x":3})", "x"), "3");
  EXPECT_FALSE(cni::raw_member(R"({"a":{"x":1}})", "x"));
  EXPECT_FALSE(cni::raw_member("{}", "x"));
  EXPECT_EQ(cni::with_member("{ }", "x", "1"), R"({"x":1 })");
  EXPECT_EQ(cni::raw_member("\xef\xbb\xbf{\"x\":1}", "x"), "1");
}

}  // namespace
}  // namespace podfence::test
