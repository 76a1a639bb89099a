// Coverage of rows.txt: every M row of the groups that policy decides must be named by a test, those of a data case by
// a data case. Names count only in data files and tests, never in rows.txt itself.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "tests/support/case_file.h"

namespace podfence::test {
namespace {

namespace fs = std::filesystem;

struct Row {
  std::string id;
  char level = ' ';
};

std::vector<Row> rows() {
  std::ifstream file(fs::path(PODFENCE_CASES_DIR) / "rows.txt");
  std::vector<Row> found;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    Row row;
    words >> row.id >> row.level;
    found.push_back(row);
  }
  return found;
}

/// Rows that no data case can show: the file below tests/ and the test in it that does.
const std::map<std::string, std::pair<std::string, std::string>>& shown_elsewhere() {
  static const std::map<std::string, std::pair<std::string, std::string>> where{
      // All or nothing: a commit that fails in its middle leaves the old table, element for element.
      {"D-21", {"enforcer/kernel/refusal_test.cpp", "LeavesTheOldTableWhenAnInstallIsRefused"}},
  };
  return where;
}

std::string contents_of(const fs::path& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(Rows, AreAList) {
  const auto all = rows();
  std::set<std::string> ids;
  for (const auto& row : all) {
    EXPECT_TRUE(ids.insert(row.id).second) << row.id << " twice";
    EXPECT_TRUE(row.level == 'M' || row.level == 'S' || row.level == 'C') << row.id;
  }
  EXPECT_GT(all.size(), 150u);
}

TEST(Rows, OfCasesExist) {
  std::set<std::string> ids;
  for (const auto& row : rows()) ids.insert(row.id);
  for (const auto& one : load_cases(PODFENCE_CASES_DIR)) {
    EXPECT_FALSE(one.rows.empty()) << one.file << ": " << one.name << ": names no row";
    for (const auto& id : one.rows) EXPECT_EQ(ids.count(id), 1u) << one.file << ": " << one.name << ": " << id;
  }
}

TEST(Rows, ThatMustHoldAreNamedByACase) {
  std::set<std::string> named;
  for (const auto& one : load_cases(PODFENCE_CASES_DIR)) named.insert(one.rows.begin(), one.rows.end());
  const std::string groups = "ILPBTUDV6Z";
  for (const auto& row : rows()) {
    if (row.level != 'M' || groups.find(row.id[0]) == std::string::npos || named.count(row.id) == 1) continue;
    const auto elsewhere = shown_elsewhere().find(row.id);
    if (elsewhere == shown_elsewhere().end()) {
      ADD_FAILURE() << row.id << ": no case names it";
      continue;
    }
    const auto& [file, test] = elsewhere->second;
    EXPECT_NE(contents_of(fs::path(PODFENCE_TESTS_DIR) / file).find(test), std::string::npos)
        << row.id << ": " << file << " has no test " << test;
  }
}

TEST(Rows, EveryCaseCanFail) {
  // A case with one kind of verdict only could be right by accident.
  for (const auto& one : load_cases(PODFENCE_CASES_DIR)) {
    std::set<bool> verdicts;
    for (const auto& step : one.steps) {
      for (const auto& flow : step.flows) verdicts.insert(flow.allowed);
    }
    if (one.rows == std::vector<std::string>{"I-01"}) continue;  // nothing is denied without a policy
    EXPECT_EQ(verdicts.size(), 2u) << one.file << ": " << one.name;
  }
}

}  // namespace
}  // namespace podfence::test
