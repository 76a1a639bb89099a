// The text of the compiled programs. golden/FILE.nft holds, for every case and step of FILE.yaml, the sets that policy
// fills; golden/NAME.table.nft the whole table of a case that says `golden: NAME`. UPDATE_GOLDEN=1 rewrites them.
#include <gtest/gtest.h>

#include <map>
#include <sstream>

#include "policy/compile/compile.h"
#include "policy/program/print.h"
#include "tests/support/case_file.h"
#include "tests/support/golden.h"

namespace podfence::test {
namespace {

namespace fs = std::filesystem;

void compare(const std::string& file, const std::string& text) {
  test::expect_golden(fs::path(PODFENCE_CASES_DIR) / "golden" / file, text);
}

/// The filled sets of both directions; those of the node itself (known, managed, self) are in the whole tables.
std::string policy_sets(const std::string& table) {
  std::istringstream lines(table);
  std::string found;
  std::string block;
  for (std::string line; std::getline(lines, line);) {
    block += line + "\n";
    if (line != "\t}") continue;
    const bool directed = block.find("\n\tset in_") == 0 || block.find("\n\tset out_") == 0 ||
                          block.find("\n\tmap in_") == 0 || block.find("\n\tmap out_") == 0;
    if (directed && block.find("elements = ") != std::string::npos) found += block.substr(1);
    block.clear();
  }
  return found;
}

struct Texts {
  std::map<std::string, std::string> files;
};

void print_case(const Case& one, Texts& texts) {
  store::Cluster cluster;
  compile::Settings settings;
  settings.node = one.node;
  settings.fail_closed = one.fail_closed;
  auto& text = texts.files[one.file + ".nft"];
  text += "# case: " + one.name + "\n";
  for (std::size_t i = 0; i < one.steps.size(); ++i) {
    for (const auto& event : one.steps[i].events) cluster.apply(event);
    const auto table = program::print(compile::canonical(compile::compile(cluster, settings)));
    if (i > 0) text += "# step: " + one.steps[i].name + "\n";
    text += policy_sets(table);
    if (!one.golden.empty() && i == 0) texts.files[one.golden + ".table.nft"] = table;
  }
  text += "\n";
}

TEST(Golden, EveryCasePrintsAsItDid) {
  Texts texts;
  for (const auto& one : load_cases(PODFENCE_CASES_DIR)) print_case(one, texts);
  for (const auto& [file, text] : texts.files) compare(file, text);
}

TEST(Golden, NoFileIsLeftOver) {
  std::map<std::string, bool> expected;
  for (const auto& one : load_cases(PODFENCE_CASES_DIR)) {
    expected[one.file + ".nft"] = true;
    if (!one.golden.empty()) expected[one.golden + ".table.nft"] = true;
  }
  for (const auto& entry : fs::directory_iterator(fs::path(PODFENCE_CASES_DIR) / "golden")) {
    EXPECT_TRUE(expected.count(entry.path().filename().string()) == 1) << entry.path();
  }
}

}  // namespace
}  // namespace podfence::test
