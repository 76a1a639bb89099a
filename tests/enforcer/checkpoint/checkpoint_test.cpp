// The file of the last good world, and the mark beside the socket. Fault C16 is in tests/e2e/checkpoint_test.py.
#include "enforcer/checkpoint/checkpoint.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <random>

#include "tests/support/builders.h"
#include "tests/support/random_world.h"

namespace podfence::checkpoint {
namespace {

namespace fs = std::filesystem;

class CheckpointFileTest : public testing::Test {
 public:
  ~CheckpointFileTest() override { fs::remove_all(root); }

  static std::string bytes_of(const std::string& node, std::size_t pods) {
    archive::Encoder encoder;
    std::vector<api::Object> objects;
    for (std::size_t i = 0; i < pods; ++i) objects.emplace_back(test::pod("pod-" + std::to_string(i)));
    for (const auto& object : objects) encoder.add(object);
    archive::Origin origin;
    origin.node = node;
    return std::move(encoder).finish(origin).all;
  }

  /// How many objects there are.
  static Result<std::size_t> load(const File& file, const std::string& node = "n1") {
    std::size_t count = 0;
    const auto head = file.load(node, [&](const api::Object&) { ++count; });
    if (!head) return fail(head.error());
    return count;
  }

  static fs::path new_directory() {
    auto pattern = (fs::temp_directory_path() / "podfence-checkpoint-XXXXXX").string();
    return ::mkdtemp(pattern.data());
  }

  fs::path root = new_directory();
  File file{(root / "state" / "checkpoint").string()};
};

TEST_F(CheckpointFileTest, IsFoundAgain) {
  EXPECT_EQ(load(file).error().code(), Errc::not_found);
  ASSERT_TRUE(file.save(bytes_of("n1", 3)));
  EXPECT_EQ(load(file).value(), 3U);
  ASSERT_TRUE(file.save(bytes_of("n1", 5)));
  EXPECT_EQ(load(file).value(), 5U);
  struct stat info {};
  ASSERT_EQ(::stat(file.path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0600U);
  EXPECT_EQ(std::distance(fs::directory_iterator(root / "state"), {}), 1) << "nothing is left beside it";
}

TEST_F(CheckpointFileTest, OfAnotherNodeGivesNothing) {
  ASSERT_TRUE(file.save(bytes_of("n1", 3)));
  std::size_t count = 0;
  const auto head = file.load("n2", [&](const api::Object&) { ++count; });
  ASSERT_FALSE(head);
  EXPECT_NE(head.error().what().find("is of node 'n1'"), std::string::npos);
  EXPECT_EQ(count, 0U);
}

TEST_F(CheckpointFileTest, DamageNamesTheFile) {
  ASSERT_TRUE(file.save(bytes_of("n1", 3)));
  fs::resize_file(file.path(), fs::file_size(file.path()) - 1);
  EXPECT_EQ(load(file).error().what().rfind(file.path() + ": is cut short", 0), 0U) << load(file).error().what();
}

TEST_F(CheckpointFileTest, WhatIsTooLargeIsNeitherWrittenNorRead) {
  const std::string large((std::size_t{64} << 20U) + 1, 'x');
  EXPECT_EQ(file.save(large).error().code(), Errc::limit);
  EXPECT_FALSE(fs::exists(file.path()));
  fs::create_directories(root / "state");
  std::ofstream(file.path()) << large;
  EXPECT_EQ(load(file).error().code(), Errc::limit);
}

TEST_F(CheckpointFileTest, AFaultLeavesTheOldOne) {
  ASSERT_TRUE(file.save(bytes_of("n1", 3)));
  const auto temporary = root / "state" / ".tmp-checkpoint";
  fs::create_directory(temporary);  // it cannot be opened for writing
  EXPECT_FALSE(file.save(bytes_of("n1", 5)));
  EXPECT_EQ(load(file).value(), 3U);
}

/// Killed at any moment while it writes again and again: always one of the two worlds, never less.
TEST_F(CheckpointFileTest, KilledWhileWriting) {
  const auto seed = test::seed_of_run();
  SCOPED_TRACE("PODFENCE_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  const std::array<std::string, 2> worlds{bytes_of("n1", 2000), bytes_of("n1", 3000)};
  ASSERT_TRUE(file.save(worlds[0]));
  std::size_t others = 0;
  for (int round = 0; round < 60; ++round) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      for (std::size_t i = 1;; ++i) {
        if (!file.save(worlds[i % 2])) ::_exit(1);
      }
    }
    ::usleep(static_cast<useconds_t>(random() % 10'000));  // when it is killed is what is random here
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    int ended = 0;
    ASSERT_EQ(::waitpid(child, &ended, 0), child);
    ASSERT_TRUE(WIFSIGNALED(ended)) << "it could not write";
    const auto found = load(file);
    ASSERT_TRUE(found) << found.error().what();
    ASSERT_TRUE(*found == 2000 || *found == 3000) << *found;
    if (*found == 3000) ++others;
  }
  RecordProperty("others", std::to_string(others));
}

TEST_F(CheckpointFileTest, TheMarkIsOfOneContent) {
  const Mark mark(root.string());
  EXPECT_FALSE(mark.covers(7));
  ASSERT_TRUE(mark.put(7));
  EXPECT_TRUE(mark.covers(7));
  EXPECT_FALSE(mark.covers(8));
  ASSERT_TRUE(mark.drop());
  EXPECT_FALSE(mark.covers(7));
  ASSERT_TRUE(mark.drop()) << "there is none: fine";
}

TEST(BootId, IsThatOfTheKernel) {
  EXPECT_EQ(boot_id().size(), 36U);
}

}  // namespace
}  // namespace podfence::checkpoint
