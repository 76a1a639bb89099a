#pragma once
// A directory of files for one test.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace podfence::test {

class Files {
 public:
  Files() {
    auto pattern = (std::filesystem::temp_directory_path() / "podfence-files-XXXXXX").string();
    root_ = ::mkdtemp(pattern.data());
  }
  ~Files() { std::filesystem::remove_all(root_); }
  Files(const Files&) = delete;
  Files& operator=(const Files&) = delete;

  std::string path(const std::string& name) const { return (root_ / name).string(); }
  std::string write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name) << text;
    return path(name);
  }

 private:
  std::filesystem::path root_;
};

}  // namespace podfence::test
