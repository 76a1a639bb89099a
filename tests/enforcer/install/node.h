#pragma once
// A node's directories in a temporary place, a plugin that is a shell script, and a runtime that says what it is told.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>

#include "enforcer/install/install.h"

namespace podfence::install::test {

namespace fs = std::filesystem;

constexpr const char* bridge_list =
    "{\n  \"cniVersion\": \"1.0.0\",\n  \"name\": \"kbr\",\n  \"plugins\": [\n    {\"type\": \"bridge\", \"x\":1.50},\n"
    "    {\"type\": \"portmap\", \"capabilities\": {\"portMappings\": true}}\n  ],\n  \"unknown\": [ 1,2 ]\n}\n";
constexpr const char* single =
    "{ \"cniVersion\": \"0.3.1\", \"name\": \"one\", \"type\": \"ptp\", \"extra\": {\"a\":[]} }\n";

/// Says what it is told, and counts the questions.
class FakeRuntime : public Runtime {
 public:
  std::string name() const override { return "fake"; }
  Result<RuntimeStatus> status() override {
    ++asked;
    on_question();
    return asked < loads_at ? before : after;
  }
  Result<RuntimeStatus> before = fail(Errc::not_found, "no runtime");
  Result<RuntimeStatus> after = fail(Errc::not_found, "no runtime");
  int loads_at = 0;
  int asked = 0;
  std::function<void()> on_question = [] {};
};

class Node : public testing::Test {
 protected:
  Node() {
    std::string pattern = (fs::temp_directory_path() / "podfence-install-XXXXXX").string();
    root = ::mkdtemp(pattern.data());
    for (const char* name : {"net.d", "bin", "src"}) fs::create_directory(root / name);
    for (const char* name : {"bridge", "ptp", "portmap"}) program("bin/" + std::string(name), "exit 0");
    plugin("0.2.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0");
    options.conf_dir = root / "net.d";
    options.bin_dir = root / "bin";
    options.state_dir = root / "state";
    options.plugin = root / "src/podfence-cni";
    options.wait = std::chrono::milliseconds(0);
    options.verify_time = std::chrono::milliseconds(0);
    options.need_agent = false;
    options.version = "1";
  }
  ~Node() override { fs::remove_all(root); }

  void write(const std::string& name, const std::string& text) const {
    fs::create_directories((root / name).parent_path());
    std::ofstream(root / name) << text;
  }
  /// As a file that nobody has touched for a minute.
  void settled(const std::string& name, const std::string& text) const {
    write("net.d/" + name, text);
    fs::last_write_time(root / "net.d" / name, fs::file_time_type::clock::now() - std::chrono::minutes(1));
  }
  std::string read(const std::string& name) const {
    std::ifstream in(root / name);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  bool exists(const std::string& name) const { return fs::exists(root / name); }
  void program(const std::string& name, const std::string& script) const {
    write(name, "#!/bin/sh\n" + script + "\n");
    fs::permissions(root / name, fs::perms::owner_all);
  }
  void plugin(const std::string& versions) const {
    program("src/podfence-cni", "echo '{\"supportedVersions\":[\"" + versions + "\"]}'");
  }
  mode_t mode(const std::string& name) const {
    struct stat info {};
    return ::stat((root / name).c_str(), &info) == 0 ? info.st_mode & 07777U : 0;
  }
  std::vector<std::string> names(const std::string& directory = "net.d") const {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(root / directory)) found.push_back(entry.path().filename());
    std::sort(found.begin(), found.end());
    return found;
  }
  Report installed() {
    auto report = install(options, runtime);
    EXPECT_TRUE(report) << report.error().what();
    return report ? *report : Report();
  }
  std::string refused() {
    auto report = install(options, runtime);
    EXPECT_FALSE(report);
    return report ? "" : report.error().what();
  }
  Report uninstalled(bool purge = true) {
    UninstallOptions undo;
    undo.common = options;
    undo.drain = std::chrono::milliseconds(0);
    undo.purge = purge;
    undo.attachments = [this]() -> Result<std::size_t> { return attachments; };
    auto report = uninstall(undo, runtime);
    EXPECT_TRUE(report) << report.error().what();
    return report ? *report : Report();
  }

  fs::path root;
  Options options;
  FakeRuntime runtime;
  Result<std::size_t> attachments = std::size_t{0};
};

}  // namespace podfence::install::test
