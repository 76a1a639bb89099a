#pragma once
// A directory of its own for a test, and what flow logs in it hold.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "enforcer/flow/history.h"

namespace podfence::flow::test {

class Directory {
 public:
  Directory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "podfence-flow-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~Directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;

  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

inline std::string content(const std::string& file) {
  const std::ifstream in(file);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

/// Every line of a log, rotated files first; a line that is not ours is a failure.
inline std::vector<LoggedLine> lines_of(const std::string& log) {
  std::vector<std::string> files = rotated_files(log);
  files.push_back(log);
  std::vector<LoggedLine> lines;
  LineParser parser;
  for (const auto& file : files) {
    auto done = for_each_line(file, 0, [&](std::string_view text) {
      auto line = parser.parse(text);
      EXPECT_TRUE(line) << file << ": " << text;
      if (line) lines.push_back(std::move(*line));
      return true;
    });
    EXPECT_TRUE(done) << done.error().what();
  }
  return lines;
}

/// What all lines of a log account for.
struct Sums {
  std::uint64_t recorded = 0;
  std::uint64_t lost = 0;
  std::map<std::string, std::uint64_t> by_stage;
  std::uint64_t all() const { return recorded + lost; }
};
inline Sums sums_of(const std::string& log) {
  Sums sums;
  for (const auto& line : lines_of(log)) {
    if (line.type == "flow" && line.verdict == "deny") sums.recorded += line.count;
    if (line.type == "loss" && line.exact) {
      sums.lost += line.lost;
      sums.by_stage[line.stage] += line.lost;
    }
  }
  return sums;
}

}  // namespace podfence::flow::test
