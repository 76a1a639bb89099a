#include "enforcer/flow/ledger.h"

#include <gtest/gtest.h>

#include <deque>
#include <random>

namespace podfence::flow {
namespace {

using std::chrono::seconds;

const TimePoint start = TimePoint(seconds(1'800'000'000));

std::map<std::string, std::uint64_t> by_stage(const std::vector<Loss>& losses) {
  std::map<std::string, std::uint64_t> sums;
  for (const Loss& loss : losses) sums[std::string(loss.stage)] += loss.lost;
  return sums;
}

CounterSample sample(std::uint64_t denied, std::uint64_t limited = 0, std::string epoch = "t1") {
  return {std::move(epoch), {{"denied_in", denied}, {"over_node", limited}}};
}

/// A ledger with a clock that goes on a second with every tick.
struct Ticking {
  Ledger ledger;
  TimePoint now = start;
  std::map<std::string, std::uint64_t> stated;

  std::map<std::string, std::uint64_t> tick(const CounterSample& counters, bool drained = true) {
    now += seconds(1);
    ledger.sample(counters, now);
    const auto losses = by_stage(ledger.settle(now, drained));
    for (const auto& [stage, lost] : losses) stated[stage] += lost;
    return losses;
  }
  void receive(int packets) {
    for (int i = 0; i < packets; ++i) ledger.received(true, 0);
  }
};

using Stages = std::map<std::string, std::uint64_t>;

TEST(Ledger, NothingIsLostWhenAllThatWasCountedArrived) {
  Ticking t;
  t.receive(5);
  EXPECT_EQ(t.tick(sample(5)), Stages{});
  EXPECT_EQ(t.tick(sample(5)), Stages{});
  EXPECT_EQ(t.tick(sample(5)), Stages{});
}

TEST(Ledger, APacketOnItsWayIsNotStatedAsLost) {
  Ticking t;
  EXPECT_EQ(t.tick(sample(3)), Stages{}) << "counted just now, its message may come in 100 ms";
  t.receive(3);
  EXPECT_EQ(t.tick(sample(3)), Stages{});
  EXPECT_EQ(t.tick(sample(3)), Stages{});
}

TEST(Ledger, WhatDoesNotArriveWithinASecondIsTail) {
  Ticking t;
  t.tick(sample(10));
  t.receive(4);
  EXPECT_EQ(t.tick(sample(10)), (Stages{{"nflog_tail", 6}}));
  EXPECT_EQ(t.tick(sample(10)), Stages{}) << "stated once";
}

TEST(Ledger, NoTailWhileTheSocketIsNotEmpty) {
  Ticking t;
  t.tick(sample(10));
  EXPECT_EQ(t.tick(sample(10), false), Stages{});
  t.receive(10);
  EXPECT_EQ(t.tick(sample(10)), Stages{});
}

TEST(Ledger, PacketsOverTheRatesAreKernelLimit) {
  Ticking t;
  t.receive(10);
  EXPECT_EQ(t.tick(sample(100, 90)), (Stages{{"kernel_limit", 90}}));
  EXPECT_EQ(t.tick(sample(120, 110)), (Stages{{"kernel_limit", 20}}));
  EXPECT_EQ(t.tick(sample(120, 110)), Stages{});
}

TEST(Ledger, AGapIsStatedOnceAndNotAgainAsTail) {
  Ticking t;
  t.receive(1);
  t.ledger.received(true, 7);
  EXPECT_EQ(t.tick(sample(9)), (Stages{{"nflog_seq_gap", 7}}));
  EXPECT_EQ(t.tick(sample(9)), Stages{});
  EXPECT_EQ(t.tick(sample(9)), Stages{});
}

TEST(Ledger, AGapThatWasStatedAsTailBeforeIsNotStatedAgain) {
  Ticking t;
  t.receive(1);
  t.tick(sample(8));
  EXPECT_EQ(t.tick(sample(8)), (Stages{{"nflog_tail", 7}}));
  t.ledger.received(true, 7);  // the next message shows the hole
  EXPECT_EQ(t.tick(sample(9)), Stages{});
  t.ledger.received(true, 2);
  EXPECT_EQ(t.tick(sample(12)), (Stages{{"nflog_seq_gap", 2}}));
  EXPECT_EQ(t.tick(sample(12)), Stages{});
}

TEST(Ledger, AGapOfForeignMessagesIsNotStated) {
  Ticking t;
  t.receive(2);
  t.ledger.received(false, 50);
  EXPECT_EQ(t.tick(sample(2)), Stages{});
  EXPECT_EQ(t.tick(sample(2)), Stages{});
}

TEST(Ledger, GoesOnWithTheAccountOfAnEarlierRun) {
  Ticking t;
  t.ledger = Ledger({{"denied_in", {100, 100}}, {"over_node", {40, 40}}}, "t1", {55, 40});
  // 5 packets of the earlier run were received and never written; 20 more were denied while nobody listened.
  EXPECT_EQ(t.tick(sample(120, 40)), Stages{});
  EXPECT_EQ(t.tick(sample(120, 40)), (Stages{{"nflog_tail", 25}}));
}

TEST(Ledger, CountersOfANewTableBeginAtZero) {
  Ticking t;
  t.receive(10);
  t.tick(sample(10, 0, "t1"));
  t.receive(12);
  EXPECT_EQ(t.tick(sample(12, 0, "t2")), Stages{}) << "larger than before, and still another table";
  EXPECT_EQ(t.ledger.dropped(), 22U);
  EXPECT_EQ(t.tick(sample(12, 0, "t2")), Stages{});
  t.receive(3);
  EXPECT_EQ(t.tick(sample(3, 0, "")), Stages{}) << "smaller than before";
  EXPECT_EQ(t.ledger.dropped(), 25U);
}

TEST(Ledger, MessagesOfATableThatWasReplacedUnreadHideNoLoss) {
  Ticking t;
  t.receive(10);
  t.tick(sample(4, 0, "t1"));
  t.tick(sample(0, 0, "t2"));  // 6 were counted and received, and their counter went before it was read
  t.tick(sample(0, 0, "t2"));
  t.tick(sample(5, 0, "t2"));
  EXPECT_EQ(t.tick(sample(5, 0, "t2")), (Stages{{"nflog_tail", 5}}));
}

TEST(Ledger, AdoptsWhatCountersHoldWithoutAnAccount) {
  Ticking t;
  t.ledger.adopt_next_sample();
  EXPECT_EQ(t.tick(sample(1000, 300)), Stages{});
  EXPECT_EQ(t.tick(sample(1000, 300)), Stages{});
  EXPECT_EQ(t.tick(sample(1004, 300)), Stages{});
  EXPECT_EQ(t.tick(sample(1004, 300)), (Stages{{"nflog_tail", 4}}));
}

TEST(Ledger, AClockThatIsSetBackStatesNothingTooEarly) {
  Ticking t;
  t.tick(sample(3));
  t.now -= seconds(3600);
  EXPECT_EQ(t.tick(sample(3)), Stages{});
  t.receive(3);
  EXPECT_EQ(t.tick(sample(3)), Stages{});
}

/// A kernel that loses messages in every way, reads that are late, samples whose counters are read one after the other.
class Simulation {
 public:
  explicit Simulation(std::uint64_t seed) : random_(seed) {}

  void run_second() {
    for (int slice = 0; slice < 10; ++slice) {
      const auto packets = random_() % 40;
      for (std::uint64_t i = 0; i < packets; ++i) packet();
      if (random_() % 3 != 0) deliver();
    }
    tick();
  }
  void quiesce() {
    deliver();
    for (int i = 0; i < 5; ++i) tick();
  }
  void expect_exact() const {
    std::uint64_t stated = 0;
    for (const auto& [stage, lost] : t_.stated) stated += lost;
    EXPECT_EQ(received_ + stated, denied_);
    EXPECT_EQ(t_.stated.count("kernel_limit") != 0 ? t_.stated.at("kernel_limit") : 0, limited_);
  }
  void expect_never_too_much() const {
    std::uint64_t stated = 0;
    for (const auto& [stage, lost] : t_.stated) stated += lost;
    EXPECT_LE(received_ + stated, denied_);
  }

 private:
  void packet() {
    ++denied_;
    if (random_() % 5 == 0) {
      ++limited_;
      return;
    }
    if (random_() % 50 == 0) return;                    // no memory for a message: no sequence number either
    const bool fits = random_() % 10 != 0 && !jammed_;  // else an overrun
    if (random_() % 200 == 0) jammed_ = !jammed_;
    if (fits) on_the_way_.push_back(sequence_);
    ++sequence_;
  }
  void deliver() {
    for (; !on_the_way_.empty(); on_the_way_.pop_front()) {
      const std::uint64_t sequence = on_the_way_.front();
      t_.ledger.received(true, static_cast<std::uint32_t>(sequence - expected_));
      expected_ = sequence + 1;
      ++received_;
    }
  }
  void tick() {
    // Counters are not read at one instant: packets come between the first and the last of them.
    const auto denied = denied_;
    if (random_() % 2 == 0 && busy_) packet();
    const auto limited = limited_;
    t_.now += seconds(1);
    t_.ledger.sample(sample(denied, limited), t_.now);
    deliver();
    for (const Loss& loss : t_.ledger.settle(t_.now, true)) t_.stated[std::string(loss.stage)] += loss.lost;
  }

 public:
  bool busy_ = true;

 private:
  std::mt19937_64 random_;
  Ticking t_;
  std::uint64_t denied_ = 0;
  std::uint64_t limited_ = 0;
  std::uint64_t received_ = 0;
  std::uint64_t sequence_ = 0;
  std::uint64_t expected_ = 0;
  std::deque<std::uint64_t> on_the_way_;
  bool jammed_ = false;
};

TEST(Ledger, IsExactOnceQuietAndNeverTooMuchBeforeOnRandomLosses) {
  const char* given = std::getenv("PODFENCE_SEED");
  const auto base = given != nullptr ? std::stoul(given) : std::random_device{}();
  for (std::uint64_t n = 0; n < 300; ++n) {
    SCOPED_TRACE("PODFENCE_SEED=" + std::to_string(base + n));
    Simulation world(base + n);
    for (int second = 0; second < 20; ++second) {
      world.run_second();
      world.expect_never_too_much();
    }
    world.busy_ = false;
    world.quiesce();
    world.expect_exact();
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace podfence::flow
