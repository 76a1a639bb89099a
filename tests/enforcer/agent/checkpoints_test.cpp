// When the last good world is written, when it is believed at a start, and what of it. B3; the disk's faults (C16) are
// in tests/e2e/checkpoint_test.py.
#include "enforcer/agent/checkpoints.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/support/builders.h"

namespace podfence::agent {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

class CheckpointsTest : public testing::Test {
 public:
  CheckpointsTest() {
    auto pattern = (fs::temp_directory_path() / "podfence-checkpoints-XXXXXX").string();
    root = ::mkdtemp(pattern.data());
    fs::create_directory(root / "run");
    config.source = "kubernetes";
    config.node = "n1";
    config.state_dir = root / "state";
    config.socket = root / "run" / "agent.sock";
  }
  ~CheckpointsTest() override { fs::remove_all(root); }

  Checkpoints::Describe describes() {
    return [this](archive::Encoder& encoder, archive::Origin& origin) {
      ++described;
      for (const auto& object : world) encoder.add(object);
      origin.cluster = "ours";
    };
  }
  /// Runs the loop until it holds; fails after a minute.
  template <class Condition>
  void until(Condition condition) {
    const auto end = std::chrono::steady_clock::now() + 60s;
    while (!condition() && std::chrono::steady_clock::now() < end) {
      io.restart();
      io.run_one_for(1s);
    }
    ASSERT_TRUE(condition());
  }
  void write() {
    Checkpoints writer(io, config, describes());
    writer.before_commit();
    writer.changed();
    until([&] { return writer.status().writes == 1; });
  }
  bool marked() const { return fs::exists(root / "run" / "checkpoint-covers"); }

  fs::path root;
  Config config;
  boost::asio::io_context io;
  std::vector<api::Object> world{test::ns("shop"), test::pod("web").node("n1").ip("10.0.0.1")};
  std::size_t described = 0;
};

const auto table = [] { return true; };
const auto no_table = [] { return false; };

TEST_F(CheckpointsTest, WhatIsWrittenComesBack) {
  write();
  EXPECT_TRUE(marked());
  Checkpoints next(io, config, describes());
  const auto restored = next.restore(table);
  ASSERT_TRUE(restored);
  EXPECT_EQ(restored->events.size(), 2U);
  EXPECT_EQ(restored->origin.node, "n1");
  EXPECT_EQ(restored->origin.cluster, "ours");
  EXPECT_EQ(restored->origin.boot, checkpoint::boot_id());
  EXPECT_TRUE(next.status().enforced);
  EXPECT_LT(age_of(*next.status().written), 60.0);
  next.followed();
  EXPECT_FALSE(next.status().enforced);
}

TEST_F(CheckpointsTest, NoneIsNoFault) {
  Checkpoints first(io, config, describes());
  EXPECT_FALSE(first.restore(table));
  EXPECT_EQ(first.status().rejected, 0U);
  EXPECT_EQ(first.status().ignored, "");
}

TEST_F(CheckpointsTest, AKernelThatMovedSinceIsNotTurnedBack) {
  write();
  {
    Checkpoints running(io, config, describes());
    ASSERT_TRUE(running.restore(table));
    EXPECT_TRUE(marked());
    running.before_commit();
    EXPECT_FALSE(marked());
  }
  Checkpoints killed(io, config, describes());
  EXPECT_FALSE(killed.restore(table));
  EXPECT_EQ(killed.status().rejected, 1U);
  EXPECT_NE(killed.status().ignored.find("may be newer"), std::string::npos);
  EXPECT_FALSE(marked());
  Checkpoints rebooted(io, config, describes());
  EXPECT_TRUE(rebooted.restore(no_table));
  EXPECT_TRUE(marked()) << "what is in the kernel now is the checkpoint";
}

TEST_F(CheckpointsTest, ChangesWhileItIsWrittenLeaveItUnmarked) {
  Checkpoints running(io, config, describes());
  running.before_commit();
  running.changed();
  until([&] { return described == 1; });
  running.before_commit();  // the thread may be at work still, or done: nobody has heard of it yet
  until([&] { return running.status().writes == 1; });
  EXPECT_FALSE(marked());
}

TEST_F(CheckpointsTest, APodThatIsPluggedInBeforeItIsWrittenIsNewer) {
  write();
  Checkpoints running(io, config, describes());
  ASSERT_TRUE(running.restore(table));
  running.before_plugged_in();
  EXPECT_TRUE(marked()) << "the file holds all that the source has said";
  running.changed();
  EXPECT_TRUE(marked()) << "nothing of it is in the kernel";
  running.before_plugged_in();
  EXPECT_FALSE(marked());
}

TEST_F(CheckpointsTest, APodThatIsPluggedInWhileItIsWrittenIsNewerUntilThen) {
  write();
  world.emplace_back(test::pod("db").node("n1").ip("10.0.0.2"));
  described = 0;
  Checkpoints running(io, config, describes());
  ASSERT_TRUE(running.restore(table));
  running.changed();
  until([&] { return described == 1; });
  EXPECT_TRUE(marked());
  running.before_plugged_in();
  EXPECT_FALSE(marked());
  until([&] { return running.status().writes == 1; });
  EXPECT_TRUE(marked()) << "it is in the file";
}

TEST_F(CheckpointsTest, TheSameWorldIsNotWrittenAgain) {
  write();
  described = 0;
  Checkpoints next(io, config, describes());
  ASSERT_TRUE(next.restore(table));
  next.before_commit();
  next.changed();
  until([&] { return described == 1; });
  until([&] { return marked(); });
  EXPECT_EQ(next.status().writes, 0U);
}

TEST_F(CheckpointsTest, ManyChangesAreOneWrite) {
  Checkpoints running(io, config, describes());
  for (int i = 0; i < 100; ++i) running.changed();
  until([&] { return running.status().writes == 1; });
  for (int i = 0; i < 100; ++i) running.changed();
  io.restart();
  io.run_for(2s);
  EXPECT_EQ(described, 1U) << "at most once in ten seconds";
}

TEST(Describe, PodsOfThisNodeAreAsTheSourceGaveThem) {
  sandbox::Attachments attachments;
  sandbox::Join join("n1", attachments);
  store::Cluster cluster;
  const api::Object here = test::pod("here").node("n1").ip("10.0.0.1");
  for (auto& event : join.take(test::events_of({here}))) cluster.apply(std::move(event));
  cluster.apply(store::Upsert{test::pod("here").node("n1").ip("10.0.0.77")});  // as a sandbox would make it
  cluster.apply(store::Upsert{test::pod("there").node("n2").ip("10.0.0.2")});
  auto system = std::get<api::Namespace>(api::Object(test::ns("kube-system")));
  system.meta.uid = "ours";
  cluster.apply(store::Upsert{system});
  archive::Encoder encoder;
  archive::Origin origin;
  describe(cluster, "n1", join, {{"NetworkPolicy a/narrow", false, {}}, {"NetworkPolicy a/kept", true, {}}}, encoder,
           origin);
  EXPECT_EQ(origin.cluster, "ours");
  EXPECT_EQ(origin.narrow, std::vector<std::string>{"NetworkPolicy a/narrow"});
  std::vector<api::Object> objects;
  const auto bytes = std::move(encoder).finish(origin).all;
  ASSERT_TRUE(archive::decode(bytes, [&](api::Object object) { objects.push_back(std::move(object)); }));
  ASSERT_EQ(objects.size(), 3U);
  EXPECT_EQ(objects[1], here);
}

TEST(CheckpointOption, NamesAFileOrNone) {
  Config config;
  config.node = "n1";
  config.source = "dir:/objects";
  EXPECT_EQ(checkpoint_file(config), "");
  EXPECT_TRUE(validate(config));
  config.checkpoint = "/x";
  EXPECT_FALSE(validate(config)) << "its files are here";
  config.source = "kubernetes";
  EXPECT_TRUE(validate(config));
  EXPECT_EQ(checkpoint_file(config), "/x");
  config.checkpoint = "x";
  EXPECT_FALSE(validate(config));
  config.checkpoint = "none";
  EXPECT_TRUE(validate(config));
  EXPECT_EQ(checkpoint_file(config), "");
  config.checkpoint = "";
  EXPECT_EQ(checkpoint_file(config), "/var/lib/podfence/checkpoint");
}

}  // namespace
}  // namespace podfence::agent
