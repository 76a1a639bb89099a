#include "enforcer/flow/journal.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <functional>
#include <numeric>
#include <random>
#include <thread>

#include "tests/enforcer/flow/files.h"

namespace podfence::flow {
namespace {

using std::chrono::seconds;
using test::content;
using test::Directory;

const TimePoint start = TimePoint(seconds(1'800'000'000));

OutLine flow_line(std::uint64_t number, std::uint64_t count = 1) {
  FlowRecord record;
  record.time = record.end = start;
  record.count = count;
  return {RecordWriter("n1", "", "i").line(record, number, start), {count, 0}, {}};
}

OutLine loss_line(std::uint64_t number, const std::string& stage, std::uint64_t lost) {
  const bool limit = stage == stage_limit;
  return {RecordWriter("n1", "", "i").line(LossRecord{start, start, stage, lost, true, {}}, number),
          {limit ? 0 : lost, limit ? lost : 0},
          stage};
}

class JournalTest : public ::testing::Test {
 protected:
  JournalConfig config(RotateLimits limits = {}) const {
    return {directory_.file("log/flows.jsonl"), directory_.file("state/flow-account.json"), limits, 8192};
  }
  std::string log() const { return directory_.file("log/flows.jsonl"); }

  Directory directory_;
  Ledger ledger_;
  TimePoint now_ = start;
};

TEST_F(JournalTest, WritesLinesToAFileThatOthersCannotRead) {
  Journal journal(config());
  journal.push(flow_line(1));
  journal.push(loss_line(2, "nflog_tail", 7));
  journal.flush(ledger_, now_);
  EXPECT_EQ(journal.error(), "");
  EXPECT_EQ(content(log()), flow_line(1).text + loss_line(2, "nflog_tail", 7).text);
  struct stat status {};
  ASSERT_EQ(::stat(log().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U & ~0640U, 0U);
}

TEST_F(JournalTest, AFirstRunHasNothingToGoOnWithAndNothingToAdopt) {
  Journal journal(config());
  EXPECT_FALSE(journal.restored().adopt);
  EXPECT_EQ(journal.restored().accounted, Accounted{});
}

TEST_F(JournalTest, ALogWithoutAnAccountIsAdopted) {
  {
    Journal journal(config());
    journal.push(flow_line(1));
    journal.flush(ledger_, now_);
  }
  std::filesystem::remove(config().state_file);
  EXPECT_TRUE(Journal(config()).restored().adopt);
  std::ofstream(config().state_file) << "{\"format\":";
  const Journal damaged(config());
  EXPECT_TRUE(damaged.restored().adopt);
  EXPECT_NE(damaged.restored().ignored, "");
}

TEST_F(JournalTest, LinesAfterTheLastSavedAccountCountToo) {
  Journal journal(config());
  journal.push(flow_line(1, 10));
  journal.flush(ledger_, now_);  // saves
  journal.push(flow_line(2, 5));
  journal.push(loss_line(3, "kernel_limit", 100));
  journal.push(loss_line(4, "nflog_seq_gap", 3));
  journal.flush(ledger_, now_ + seconds(1));  // does not: as if killed before the next save
  EXPECT_EQ(Journal(config()).restored().accounted, (Accounted{18, 100}));
}

TEST_F(JournalTest, ATornLastLineIsCutOffAndDoesNotCount) {
  {
    Journal journal(config());
    journal.push(flow_line(1, 10));
    journal.flush(ledger_, now_);
  }
  std::ofstream(log(), std::ios::app) << flow_line(2, 5).text.substr(0, 150);
  Journal journal(config());
  EXPECT_EQ(journal.restored().accounted, (Accounted{10, 0}));
  journal.push(flow_line(3, 1));
  journal.flush(ledger_, now_);
  EXPECT_EQ(content(log()), flow_line(1, 10).text + flow_line(3, 1).text);
}

TEST_F(JournalTest, TheCountersAreKeptWithTheAccount) {
  ledger_.sample({"boot:ns:3", {{"denied_in", 12}}}, now_);
  {
    Journal journal(config());
    journal.flush(ledger_, now_);
  }
  const Journal journal(config());
  EXPECT_EQ(journal.restored().epoch, "boot:ns:3");
  EXPECT_EQ(journal.restored().counters, (std::map<std::string, CounterTotal>{{"denied_in", {12, 12}}}));
}

TEST_F(JournalTest, RotatesWithinAQuotaAndLosesNothingOfTheAccount) {
  const RotateLimits limits{2'000, 8'000};
  std::uint64_t packets = 0;
  for (int run = 0; run < 3; ++run) {
    Journal journal(config(limits));
    EXPECT_EQ(journal.restored().accounted.logged, packets);
    for (std::uint64_t i = 0; i < 50; ++i) {
      now_ += std::chrono::milliseconds(10);
      journal.push(flow_line(i));
      journal.flush(ledger_, now_);
      ++packets;
    }
    EXPECT_EQ(journal.error(), "");
  }
  const auto rotated = rotated_files(log());
  EXPECT_GE(rotated.size(), 2U);
  std::uintmax_t total = std::filesystem::file_size(log());
  for (const auto& file : rotated) {
    EXPECT_LE(std::filesystem::file_size(file), limits.file_bytes);
    total += std::filesystem::file_size(file);
  }
  EXPECT_LE(total, limits.total_bytes + limits.file_bytes);
}

TEST_F(JournalTest, AWriterThatIsKilledAtAnyMomentLeavesAnAccountThatEqualsItsLog) {
  const char* given = std::getenv("PODFENCE_SEED");
  const auto seed = given != nullptr ? std::stoul(given) : std::random_device{}();
  SCOPED_TRACE("PODFENCE_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  const RotateLimits limits{20'000, 1'000'000'000};
  for (int run = 0; run < 40; ++run) {
    const pid_t child = ::fork();
    if (child == 0) {
      Journal journal(config(limits));
      for (std::uint64_t i = 0;; ++i) {
        now_ += seconds(i % 3);
        for (std::uint64_t n = 0; n < i % 5; ++n) journal.push(flow_line(n, n + 1));
        if (i % 7 == 0) journal.push(loss_line(i, "kernel_limit", 3));
        journal.flush(ledger_, now_);
      }
    }
    std::this_thread::sleep_for(std::chrono::microseconds(2'000 + random() % 20'000));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    now_ += seconds(1'000'000);
    const Journal next(config(limits));
    const auto sums = test::sums_of(log());
    const auto limited = sums.by_stage.count("kernel_limit") != 0 ? sums.by_stage.at("kernel_limit") : 0;
    ASSERT_EQ(next.restored().accounted, (Accounted{sums.all() - limited, limited})) << "run " << run;
  }
  EXPECT_GT(rotated_files(log()).size(), 1U);
}

TEST_F(JournalTest, AFileThatWasMovedAwayIsFollowedByANewOne) {
  Journal journal(config());
  journal.push(flow_line(1));
  journal.flush(ledger_, now_);
  std::filesystem::rename(log(), log() + ".1");
  journal.push(flow_line(2));
  journal.flush(ledger_, now_ + seconds(1));
  EXPECT_EQ(content(log() + ".1"), flow_line(1).text);
  EXPECT_EQ(content(log()), flow_line(2).text);
  EXPECT_EQ(Journal(config()).restored().accounted, (Accounted{2, 0}));
}

TEST_F(JournalTest, AFileThatWasCutShortGoesOn) {
  Journal journal(config());
  journal.push(flow_line(1));
  journal.flush(ledger_, now_);
  std::filesystem::resize_file(log(), 0);
  journal.push(flow_line(2));
  journal.flush(ledger_, now_ + seconds(1));
  EXPECT_EQ(content(log()), flow_line(2).text);
}

TEST_F(JournalTest, WaitsForAFileThatCannotBeOpenedAndHandsBackWhatItHasNoRoomFor) {
  std::ofstream(directory_.file("log")) << "a file where the directory should be";
  JournalConfig small = config();
  small.most_waiting = 3;
  Journal journal(small);
  EXPECT_NE(journal.error(), "");
  EXPECT_EQ(journal.stage(), "sink:file");
  journal.push(loss_line(1, "nflog_tail", 9));
  for (std::uint64_t i = 2; i <= 5; ++i) journal.push(flow_line(i));
  journal.flush(ledger_, now_);
  const auto dropped = journal.take_dropped();
  ASSERT_EQ(dropped.size(), 2U);
  EXPECT_EQ(dropped[0].stage, "nflog_tail");
  EXPECT_EQ(dropped[0].account.logged, 9U);
  EXPECT_EQ(dropped[1].text, flow_line(2).text);
  std::filesystem::remove(directory_.file("log"));
  journal.flush(ledger_, now_ + seconds(1));
  EXPECT_EQ(journal.error(), "");
  EXPECT_EQ(content(log()), flow_line(3).text + flow_line(4).text + flow_line(5).text);
}

TEST_F(JournalTest, TheDelayIsFromTheFirstPacketToTheLineAndOnlyOfFlows) {
  std::ofstream(directory_.file("log")) << "a file where the directory should be";
  Journal journal(config());
  OutLine line = flow_line(1);
  line.first = start - std::chrono::milliseconds(5'200);
  journal.push(line);
  journal.push(loss_line(2, "nflog_tail", 9));
  journal.flush(ledger_, now_);
  EXPECT_EQ(journal.delays().sum_seconds(), 0) << "it still waits";
  std::filesystem::remove(directory_.file("log"));
  journal.flush(ledger_, now_ + seconds(60));
  EXPECT_NEAR(journal.delays().sum_seconds(), 65.2, 1e-6);
  const auto& counts = journal.delays().counts();
  EXPECT_EQ(std::accumulate(counts.begin(), counts.end(), std::uint64_t{0}), 1U);
}

/// Runs `body` in a process that may not write files beyond `bytes`: writes there fall short and then fail.
int with_file_limit(rlim_t bytes, const std::function<bool()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{bytes, RLIM_INFINITY};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    ::_exit(body() ? 0 : 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST_F(JournalTest, AFullDiskLeavesNoHalfLineAndWritingGoesOnWhenThereIsRoom) {
  const auto line_size = flow_line(1).text.size();
  const bool as_expected = with_file_limit(line_size * 2 + line_size / 2, [&] {
                             Journal journal(config());
                             for (std::uint64_t i = 1; i <= 4; ++i) journal.push(flow_line(i));
                             journal.flush(ledger_, now_);
                             const bool stopped = journal.waiting() == 2 && !journal.error().empty() &&
                                                  content(log()) == flow_line(1).text + flow_line(2).text;
                             const rlimit room{RLIM_INFINITY, RLIM_INFINITY};
                             ::setrlimit(RLIMIT_FSIZE, &room);
                             journal.flush(ledger_, now_ + seconds(1));
                             return stopped && journal.waiting() == 0 && journal.error().empty();
                           }) == 0;
  EXPECT_TRUE(as_expected);
  EXPECT_EQ(test::sums_of(log()).recorded, 4U);
}

/// Runs `body` in a process whose standard output is a pipe that nobody reads until the process has ended, and gives
/// what came out.
std::string with_pipe(const std::function<void()>& body) {
  std::array<int, 2> ends{};
  EXPECT_EQ(::pipe(ends.data()), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(ends[1], STDOUT_FILENO);
    body();
    ::_exit(0);
  }
  ::close(ends[1]);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status));
  std::string text;
  std::array<char, 4096> buffer{};
  for (ssize_t n = 0; (n = ::read(ends[0], buffer.data(), buffer.size())) > 0;) {
    text.append(buffer.data(), static_cast<std::size_t>(n));
  }
  ::close(ends[0]);
  return text;
}

TEST_F(JournalTest, StandardOutputGetsWholeLinesAndAnAccount) {
  JournalConfig to_pipe = config();
  to_pipe.flow_log = "-";
  const std::string text = with_pipe([&] {
    Journal journal(to_pipe);
    journal.push(flow_line(1, 4));
    journal.push(flow_line(2, 6));
    journal.flush(ledger_, now_);
  });
  EXPECT_EQ(text, flow_line(1, 4).text + flow_line(2, 6).text);
  const Journal next(to_pipe);
  EXPECT_EQ(next.restored().accounted, (Accounted{10, 0}));
  EXPECT_EQ(next.restored().unconfirmed, 0U);
}

TEST_F(JournalTest, AReaderOfStandardOutputThatStopsBlocksNobody) {
  JournalConfig to_pipe = config();
  to_pipe.flow_log = "-";
  const std::string text = with_pipe([&] {
    Journal journal(to_pipe);
    for (std::uint64_t i = 0; i < 1000; ++i) journal.push(flow_line(i));
    journal.flush(ledger_, now_);
    journal.flush(ledger_, now_ + seconds(1));
    if (journal.waiting() == 0 || journal.error().empty()) ::abort();
  });
  EXPECT_EQ(text.substr(0, text.find('\n') + 1), flow_line(0).text);
  // Lines that went out whole, and the one that the pipe took a part of.
  const auto lines = static_cast<std::uint64_t>(std::count(text.begin(), text.end(), '\n'));
  EXPECT_LE(Journal(to_pipe).restored().accounted.logged, lines + 1);
}

TEST_F(JournalTest, WhatAKilledRunHandedToAPipeIsUnsureAndNotCountedTwice) {
  AccountState state;
  state.flow_log = "-";
  state.written = {100, 3};
  state.unconfirmed = 20;
  JournalConfig to_pipe = config();
  to_pipe.flow_log = "-";
  ASSERT_TRUE(save_account(to_pipe.state_file, state));
  const Journal journal(to_pipe);
  EXPECT_EQ(journal.restored().accounted, (Accounted{100, 3}));
  EXPECT_EQ(journal.restored().unconfirmed, 20U);
}

}  // namespace
}  // namespace podfence::flow
