// The configuration file, by itself and through the program (--dry-run prints what would be loaded).
#include "enforcer/cli/config_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "enforcer/cli/cli.h"
#include "tests/enforcer/cli/files.h"

namespace podfence::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::vector<CLI::ConfigItem> items_of(const std::string& text) {
  std::istringstream input(text);
  return YamlConfig("agent").from_config(input);
}

/// "key=value ..." or what is wrong.
std::string read(const std::string& text) {
  try {
    std::string out;
    for (const auto& item : items_of(text)) {
      EXPECT_EQ(item.parents, std::vector<std::string>{"agent"});
      out += (out.empty() ? "" : " ") + item.name + "=" + ::testing::PrintToString(item.inputs);
    }
    return out;
  } catch (const CLI::ConfigError& e) {
    return std::string("error: ") + e.what();
  }
}

TEST(ConfigFile, is_a_map_of_options) {
  EXPECT_EQ(read("source: dir:/a b\nnode: n1\nlog-group: 7\nown-table: true\n"),
            R"(source={ "dir:/a b" } node={ "n1" } log-group={ "7" } own-table={ "true" })");
  EXPECT_EQ(read("{\"node\": \"n1\"}"), R"(node={ "n1" })") << "JSON is YAML";
  EXPECT_EQ(read("node: \"7\"\n"), R"(node={ "7" })");
  EXPECT_EQ(read("cluster: \"\"\n"), R"(cluster={ "" })");
}

TEST(ConfigFile, may_be_empty) {
  EXPECT_EQ(read(""), "");
  EXPECT_EQ(read("# nothing yet\n"), "");
  EXPECT_EQ(read("---\n"), "");
}

TEST(ConfigFile, that_is_wrong_says_what) {
  struct Case {
    const char* name;
    const char* text;
    const char* says;
  };
  const Case cases[] = {
      {"a list", "- node\n", "expected a map"},
      {"a text", "node\n", "expected a map"},
      {"a list of values", "node: [n1]\n", "key 'node': expected a text"},
      {"a map as value", "node: {name: n1}\n", "key 'node': expected a text"},
      {"no value", "node:\n", "key 'node': expected a text"},
      {"no YAML", "node: [\n", "configuration: "},
      {"a tab", "node:\tn1\n\t- x\n", "configuration: "},
      {"a key twice", "node: a\nnode: b\n", "configuration: "},
      {"two documents", "node: a\n---\nlog-group: 7\n", "expected one document"},
      {"an alias", "node: &n a\ncluster: *n\n", "configuration: "},
  };
  for (const auto& one : cases) EXPECT_THAT(read(one.text), HasSubstr(std::string("error: "))) << one.name;
  for (const auto& one : cases) EXPECT_THAT(read(one.text), HasSubstr(one.says)) << one.name;
}

struct Ran {
  int code = 0;
  std::string out;
  std::string err;
};

Ran ran(std::vector<std::string> words) {
  words.insert(words.begin(), "podfence");
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  ::testing::internal::CaptureStdout();
  ::testing::internal::CaptureStderr();
  const int code = run(static_cast<int>(argv.size()), argv.data());
  std::cout.flush();
  std::cerr.flush();
  return {code, ::testing::internal::GetCapturedStdout(), ::testing::internal::GetCapturedStderr()};
}

/// The program with this configuration beside a directory of manifests.
Ran dry(const test::Files& files, const std::string& more, const std::vector<std::string>& options = {}) {
  files.write("objects/world.yaml", test::shop_world);
  const auto config = files.write("agent.yaml", "source: dir:" + files.path("objects") + "\n" + more);
  std::vector<std::string> words{"agent", "--config", config, "--dry-run"};
  words.insert(words.end(), options.begin(), options.end());
  return ran(words);
}

TEST(ConfigFile, gives_the_agent_its_options) {
  const test::Files files;
  const auto one = dry(files, "node: n1\nlog-group: 7\n");
  EXPECT_EQ(one.code, 0) << one.err;
  EXPECT_THAT(one.out, HasSubstr("table inet podfence"));
  EXPECT_THAT(one.out, HasSubstr("group 7"));
  EXPECT_THAT(one.out, HasSubstr("10.1.0.5"));
  const auto other = dry(files, "node: n2\n");
  EXPECT_THAT(other.out, HasSubstr("10.2.0.7"));
  EXPECT_THAT(other.out, Not(HasSubstr("group 7 ")));
}

TEST(ConfigFile, has_flags_too) {
  const test::Files files;
  const auto closed = dry(files, "node: n1\n");
  EXPECT_THAT(closed.out, HasSubstr("10.1.0.0"));
  EXPECT_EQ(dry(files, "node: n1\nno-fail-closed: false\n").out, closed.out);
  const auto open = dry(files, "node: n1\nno-fail-closed: true\n");
  EXPECT_EQ(open.code, 0) << open.err;
  EXPECT_NE(open.out, closed.out);
  EXPECT_THAT(open.out, Not(HasSubstr("10.1.0.0")));
}

TEST(ConfigFile, yields_to_the_command_line) {
  const test::Files files;
  const auto both = dry(files, "node: n2\nlog-group: 7\n", {"--node", "n1"});
  EXPECT_EQ(both.code, 0) << both.err;
  EXPECT_THAT(both.out, HasSubstr("10.1.0.5"));
  EXPECT_THAT(both.out, HasSubstr("group 7"));
}

TEST(ConfigFile, with_an_error_starts_nothing) {
  struct Case {
    const char* name;
    const char* text;
    const char* says;
  };
  const Case cases[] = {
      {"unknown key", "node: n1\nlogg-group: 7\n", "logg-group"},
      {"a command's name as key", "node: n1\nstatus: x\n", "status"},
      {"no node", "log-group: 7\n", "--node"},
      {"not a number", "node: n1\nlog-group: many\n", "log-group"},
      {"too large", "node: n1\nlog-group: 70000\n", "log-group"},
      {"negative", "node: n1\nlog-group: -1\n", "log-group"},
      {"too large a bit", "node: n1\nlabel-bit: 128\n", "label-bit"},
      {"bad node", "node: N_1\n", "node"},
      {"no rate", "node: n1\nlog-node-rate: 0\n", "rate"},
      {"never verified", "node: n1\nverify-seconds: 0\n", "verify-seconds"},
      {"no flag", "node: n1\nown-table: perhaps\n", "own-table"},
      {"a list", "node: n1\ncluster: [a]\n", "cluster"},
  };
  const test::Files files;
  for (const auto& one : cases) {
    SCOPED_TRACE(one.name);
    const auto bad = dry(files, one.text);
    EXPECT_EQ(bad.code, 1);
    EXPECT_EQ(bad.out, "");
    EXPECT_THAT(bad.err, HasSubstr(one.says));
  }
}

TEST(ConfigFile, that_is_missing_is_an_error) {
  const test::Files files;
  const auto missing =
      ran({"agent", "--config", files.path("none.yaml"), "--node", "n1", "--source", "dir:/", "--dry-run"});
  EXPECT_EQ(missing.code, 1);
  EXPECT_THAT(missing.err, HasSubstr("none.yaml"));
}

}  // namespace
}  // namespace podfence::cli
