// records + stated losses == the kernel's counters, exactly, whatever is done to the reader.
#include "enforcer/flow/pipeline.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <random>
#include <thread>

#include "tests/enforcer/flow/flood.h"
#include "tests/support/builders.h"
#include "tests/support/netns.h"

namespace podfence::flow {
namespace {

using podfence::test::in_new_netns;
using test::denied;
using test::Directory;
using test::load_table;
using test::Rates;
using test::Reader;
using test::send_denied;
using test::Sums;
using test::sums_of;

class FlowPipelineTest : public ::testing::Test {
 protected:
  std::string log() const { return directory_.file("flows.jsonl"); }

  void expect_exact() const {
    const auto packets = test::counters();
    const Sums sums = sums_of(log());
    EXPECT_EQ(sums.all(), denied(packets)) << "recorded " << sums.recorded << ", lost " << sums.lost;
    EXPECT_EQ(stage(sums, "kernel_limit"), packets.at("over_source") + packets.at("over_node"));
  }
  static std::uint64_t stage(const Sums& sums, const std::string& name) {
    const auto found = sums.by_stage.find(name);
    return found == sums.by_stage.end() ? 0 : found->second;
  }

  Directory directory_;
};

TEST_F(FlowPipelineTest, EveryDeniedPacketIsInARecord) {
  EXPECT_TRUE(in_new_netns([&] {
    load_table();
    Reader reader(directory_);
    EXPECT_GE(reader.pipeline().fd(), 0);
    send_denied(500, 10);
    reader.finish();
    const auto stats = reader.pipeline().stats();
    EXPECT_EQ(stats.received, 500U);
    EXPECT_EQ(stats.malformed, 0U);
    EXPECT_EQ(stats.listen_error + stats.write_error, "");
    EXPECT_EQ(sums_of(log()).recorded, 500U);
    expect_exact();
    std::size_t flows = 0;
    for (const auto& line : test::lines_of(log())) {
      if (line.type != "flow") continue;
      ++flows;
      EXPECT_EQ(line.count, 50U);
      EXPECT_EQ(line.bytes, 50U * 29U) << "IP, UDP and one byte";
      EXPECT_EQ(line.transport, "udp");
      EXPECT_EQ(line.direction, "ingress");
      EXPECT_EQ(line.source.ip->text(), "127.0.0.1");
    }
    EXPECT_EQ(flows, 10U);
  }));
}

TEST_F(FlowPipelineTest, AReaderThatStopsForAWhileLosesNothingOrSaysSo) {
  EXPECT_TRUE(in_new_netns([&] {
    load_table();
    Reader reader(directory_);
    send_denied(100);
    reader.ticks(2);
    send_denied(20'000);  // nobody reads meanwhile
    std::this_thread::sleep_for(std::chrono::seconds(2));
    reader.ticks(2);
    send_denied(100);
    reader.finish();
    expect_exact();
  }));
}

TEST_F(FlowPipelineTest, WhatASmallBufferOverrunsIsStatedAsLost) {
  EXPECT_TRUE(in_new_netns([&] {
    load_table();
    NflogSettings small;
    small.receive_buffer = 2048;
    Reader reader(directory_, small);
    for (int round = 0; round < 5; ++round) {
      send_denied(5'000);
      reader.tick();
    }
    reader.finish();
    const Sums sums = sums_of(log());
    EXPECT_GT(sums.recorded, 0U);
    EXPECT_GT(stage(sums, "nflog_seq_gap") + stage(sums, "nflog_tail"), 0U);
    expect_exact();
  }));
}

TEST_F(FlowPipelineTest, AFloodOverTheRatesIsCountedByTheKernel) {
  EXPECT_TRUE(in_new_netns([&] {
    load_table(Rates{100, 150, 4096});
    Reader reader(directory_);
    for (int source = 1; source <= 4; ++source) send_denied(5'000, 100, source);
    reader.finish();
    const Sums sums = sums_of(log());
    EXPECT_GT(sums.recorded, 0U);
    EXPECT_GT(stage(sums, "kernel_limit"), 15'000U);
    expect_exact();
  }));
}

TEST_F(FlowPipelineTest, AFullSetOfSourcesLeavesNothingUncounted) {
  EXPECT_TRUE(in_new_netns([&] {
    load_table(Rates{50, 400, 4});
    Reader reader(directory_);
    for (int source = 1; source <= 20; ++source) send_denied(200, 10, source);
    reader.finish();
    EXPECT_GT(stage(sums_of(log()), "kernel_limit"), 0U);
    expect_exact();
  }));
}

TEST_F(FlowPipelineTest, WhatIsDeniedWhileNobodyListensIsStatedByTheNextRun) {
  EXPECT_TRUE(in_new_netns([&] {
    load_table();
    send_denied(40);
    {
      Reader reader(directory_);
      send_denied(100);
      reader.finish();
      EXPECT_EQ(stage(sums_of(log()), "nflog_tail"), 40U);
      expect_exact();
    }
    send_denied(300);
    Reader reader(directory_);
    send_denied(7);
    reader.finish();
    EXPECT_EQ(sums_of(log()).recorded, 107U);
    EXPECT_EQ(stage(sums_of(log()), "nflog_tail"), 340U);
    expect_exact();
  }));
}

TEST_F(FlowPipelineTest, AReaderThatIsKilledAtAnyMomentLeavesTheAccountExact) {
  const char* given = std::getenv("PODFENCE_SEED");
  const auto seed = given != nullptr ? std::stoul(given) : std::random_device{}();
  SCOPED_TRACE("PODFENCE_SEED=" + std::to_string(seed));
  EXPECT_TRUE(in_new_netns([&] {
    std::mt19937_64 random(seed);
    load_table(Rates{1'000'000, 5'000, 4096});
    for (int run = 0; run < 12; ++run) {
      const pid_t child = ::fork();
      if (child == 0) {
        // Windows of a tick, so that a short life writes too.
        Reader reader(directory_, {}, "flows.jsonl", std::chrono::seconds(1));
        for (;;) {
          reader.pipeline().on_readable(std::chrono::system_clock::now());
          reader.tick();
        }
      }
      const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(200 + random() % 1500);
      while (std::chrono::steady_clock::now() < until) send_denied(static_cast<int>(random() % 400), 200);
      ::kill(child, SIGKILL);
      ::waitpid(child, nullptr, 0);
      EXPECT_LE(sums_of(log()).all(), denied(test::counters())) << "never more than there was";
    }
    Reader reader(directory_);
    reader.finish();
    EXPECT_GT(sums_of(log()).recorded, 0U);
    expect_exact();
  }));
}

TEST_F(FlowPipelineTest, ATableThatIsMadeAnewBeginsItsCountersAtZero) {
  EXPECT_TRUE(in_new_netns([&] {
    load_table();
    Reader reader(directory_);
    send_denied(50);
    reader.ticks(2);
    load_table();
    send_denied(80);  // more than before: only the table's handle tells
    reader.finish();
    EXPECT_EQ(sums_of(log()).recorded, 130U);
    EXPECT_EQ(sums_of(log()).lost, 0U);
  }));
}

api::Object generation(std::int64_t number) {
  api::Object object = podfence::test::policy("only-api").ns("db").deny_ingress();
  std::get<api::NetworkPolicy>(object).meta.generation = number;
  return object;
}

TEST_F(FlowPipelineTest, PacketsFromBeforeAndAfterAChangeOfPolicyShareNoRecord) {
  EXPECT_TRUE(in_new_netns([&] {
    load_table();
    Reader reader(directory_);
    reader.change({podfence::test::pod("pg").ns("db").node("n1").ip("127.0.0.1"), generation(3)});
    send_denied(60, 1);
    reader.tick();
    reader.change({generation(4)});
    send_denied(70, 1);
    reader.finish();
    std::map<std::int64_t, std::uint64_t> counts;
    for (const auto& line : test::lines_of(log())) {
      if (line.type != "flow") continue;
      ASSERT_EQ(line.policies.size(), 1U);
      EXPECT_EQ(line.destination.k8s.pod, "pg");
      counts[line.policies[0].generation] += line.count;
    }
    EXPECT_EQ(counts, (std::map<std::int64_t, std::uint64_t>{{3, 60}, {4, 70}}));
    expect_exact();
  }));
}

TEST_F(FlowPipelineTest, ATableIsAbsentOnlyWhenTheKernelSaysSo) {
  EXPECT_TRUE(in_new_netns([&] {
    TableEpoch epoch("podfence");
    EXPECT_TRUE(epoch.absent());
    EXPECT_EQ(epoch.read(), "");
    load_table();
    EXPECT_FALSE(epoch.absent());
    EXPECT_NE(epoch.read(), "");
  }));
}

TEST_F(FlowPipelineTest, MoreRecordsAtOnceThanTheQueueHoldsAreWrittenAllTheSame) {
  EXPECT_TRUE(in_new_netns([&] {
    load_table();
    Reader reader(directory_);
    test::send_to_many(12'000);  // due in the same tick
    reader.finish();
    EXPECT_EQ(sums_of(log()).recorded, 12'000U);
    expect_exact();
  }));
}

TEST_F(FlowPipelineTest, ALogThatCannotBeWrittenForAWhileIsALossOfTheSink) {
  EXPECT_TRUE(in_new_netns([&] {
    load_table();
    std::ofstream(directory_.file("log")) << "a file where the directory should be";
    Reader reader(directory_, {}, "log/flows.jsonl");
    test::send_to_many(12'000);  // more than wait
    reader.ticks(7);
    EXPECT_NE(reader.pipeline().stats().write_error, "");
    std::filesystem::remove(directory_.file("log"));
    send_denied(10);
    reader.ticks(7);
    reader.finish();
    EXPECT_EQ(reader.pipeline().stats().write_error, "");
    const Sums sums = sums_of(directory_.file("log/flows.jsonl"));
    EXPECT_EQ(sums.all(), denied(test::counters()));
    EXPECT_GT(stage(sums, "sink:file"), 0U);
  }));
}

TEST_F(FlowPipelineTest, MessagesOfForeignRulesAreToldApartAndNotCounted) {
  EXPECT_TRUE(in_new_netns([&] {
    load_table();
    const auto foreign = podfence::test::run(
        "nft add table inet other; nft add chain inet other o '{ type filter hook output priority -10; }';"
        "nft add rule inet other o udp dport 9999 log prefix '\"pf1:in:policy \"' group 4021;"
        "nft add rule inet other o udp dport 10000-65535 log prefix '\"evil\"' group 4021");
    ASSERT_EQ(foreign.status, 0) << foreign.output;
    NflogSettings small;
    small.receive_buffer = 2048;
    Reader reader(directory_, small);
    for (int round = 0; round < 5; ++round) {
      send_denied(2'000);
      reader.tick();
    }
    reader.finish();
    EXPECT_GT(reader.pipeline().stats().foreign, 0U);
    expect_exact();
  }));
}

TEST_F(FlowPipelineTest, AGroupThatIsTakenIsSaidAndItsPacketsAreStated) {
  EXPECT_TRUE(in_new_netns([&] {
    load_table();
    auto other = NflogSocket::open({});
    ASSERT_TRUE(other) << other.error().what();
    Reader reader(directory_);
    EXPECT_EQ(reader.pipeline().fd(), -1);
    EXPECT_NE(reader.pipeline().stats().listen_error.find("taken by another listener"), std::string::npos)
        << reader.pipeline().stats().listen_error;
    send_denied(30);
    reader.ticks(3);
    other = fail(Errc::io, "closed");
    reader.ticks(10);
    EXPECT_GE(reader.pipeline().fd(), 0);
    send_denied(5);
    reader.finish();
    EXPECT_EQ(sums_of(log()).recorded, 5U);
    EXPECT_EQ(stage(sums_of(log()), "nflog_tail"), 30U);
    expect_exact();
  }));
}

TEST(NflogListeners, AreReadFromProc) {
  const char* table = "  100   1234     0 2 65535    100  1\n 4021  77001     0 2   128     10  1\n";
  EXPECT_EQ(listener_of(table, 4021), 77001U);
  EXPECT_EQ(listener_of(table, 100), 1234U);
  EXPECT_EQ(listener_of(table, 10), std::nullopt);
  EXPECT_EQ(listener_of("", 10), std::nullopt);
}

}  // namespace
}  // namespace podfence::flow
