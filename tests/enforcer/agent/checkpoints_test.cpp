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
 protected:
  CheckpointsTest() {
    auto pattern = (fs::temp_directory_path() / "podfence-checkpoints-XXXXXX").string();
    root_ = ::mkdtemp(pattern.data());
    fs::create_directory(root_ / "run");
    config_.source = "kubernetes";
    config_.node = "n1";
    config_.state_dir = root_ / "state";
    config_.socket = root_ / "run" / "agent.sock";
  }
  ~CheckpointsTest() override { fs::remove_all(root_); }

  Checkpoints::Describe describes() {
    return [this](archive::Encoder& encoder, archive::Origin& origin) {
      ++described_;
      for (const auto& object : world_) encoder.add(object);
      origin.cluster = "ours";
    };
  }
  /// Runs the loop until it holds; fails after a minute.
  template <class Condition>
  void until(Condition condition) {
    const auto end = std::chrono::steady_clock::now() + 60s;
    while (!condition() && std::chrono::steady_clock::now() < end) {
      io_.restart();
      io_.run_one_for(1s);
    }
    ASSERT_TRUE(condition());
  }
  void write(const std::vector<api::Object>& world) {
    world_ = world;
    Checkpoints writer(io_, config_, describes());
    writer.before_commit();
    writer.changed();
    until([&] { return writer.status().writes == 1; });
  }
  bool marked() const { return fs::exists(root_ / "run" / "checkpoint-covers"); }

  fs::path root_;
  Config config_;
  boost::asio::io_context io_;
  std::vector<api::Object> world_{test::ns("shop"), test::pod("web").node("n1").ip("10.0.0.1")};
  std::size_t described_ = 0;
};

const auto table = [] { return true; };
const auto no_table = [] { return false; };

TEST_F(CheckpointsTest, WhatIsWrittenComesBack) {
  write(world_);
  EXPECT_TRUE(marked());
  Checkpoints next(io_, config_, describes());
  const auto world = next.restore(table);
  ASSERT_TRUE(world);
  EXPECT_EQ(world->events.size(), 2U);
  EXPECT_EQ(world->origin.node, "n1");
  EXPECT_EQ(world->origin.cluster, "ours");
  EXPECT_EQ(world->origin.boot, checkpoint::boot_id());
  EXPECT_TRUE(next.status().enforced);
  EXPECT_LT(age_of(*next.status().written), 60.0);
  next.followed();
  EXPECT_FALSE(next.status().enforced);
}

TEST_F(CheckpointsTest, NoneIsNoFault) {
  Checkpoints first(io_, config_, describes());
  EXPECT_FALSE(first.restore(table));
  EXPECT_EQ(first.status().rejected, 0U);
  EXPECT_EQ(first.status().ignored, "");
}

TEST_F(CheckpointsTest, AKernelThatMovedSinceIsNotTurnedBack) {
  write(world_);
  {
    Checkpoints running(io_, config_, describes());
    ASSERT_TRUE(running.restore(table));
    EXPECT_TRUE(marked());
    running.before_commit();
    EXPECT_FALSE(marked());
  }
  Checkpoints killed(io_, config_, describes());
  EXPECT_FALSE(killed.restore(table));
  EXPECT_EQ(killed.status().rejected, 1U);
  EXPECT_NE(killed.status().ignored.find("may be newer"), std::string::npos);
  EXPECT_FALSE(marked());
  Checkpoints rebooted(io_, config_, describes());
  EXPECT_TRUE(rebooted.restore(no_table));
  EXPECT_TRUE(marked()) << "what is in the kernel now is the checkpoint";
}

TEST_F(CheckpointsTest, ChangesWhileItIsWrittenLeaveItUnmarked) {
  Checkpoints running(io_, config_, describes());
  running.before_commit();
  running.changed();
  until([&] { return described_ == 1; });
  running.before_commit();  // the thread may be at work still, or done: nobody has heard of it yet
  until([&] { return running.status().writes == 1; });
  EXPECT_FALSE(marked());
}

TEST_F(CheckpointsTest, TheSameWorldIsNotWrittenAgain) {
  write(world_);
  described_ = 0;
  Checkpoints next(io_, config_, describes());
  ASSERT_TRUE(next.restore(table));
  next.before_commit();
  next.changed();
  until([&] { return described_ == 1; });
  until([&] { return marked(); });
  EXPECT_EQ(next.status().writes, 0U);
}

TEST_F(CheckpointsTest, ManyChangesAreOneWrite) {
  Checkpoints running(io_, config_, describes());
  for (int i = 0; i < 100; ++i) running.changed();
  until([&] { return running.status().writes == 1; });
  for (int i = 0; i < 100; ++i) running.changed();
  io_.restart();
  io_.run_for(2s);
  EXPECT_EQ(described_, 1U) << "at most once in ten seconds";
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
