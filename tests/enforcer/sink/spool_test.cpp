// The flow log as a queue: order, restarts, rotation, deleted files.
#include "enforcer/sink/spool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace podfence::sink {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::IsEmpty;

class SpoolTest : public ::testing::Test {
 protected:
  SpoolTest() {
    std::string name = (fs::temp_directory_path() / "podfence-spool-XXXXXX").string();
    directory = ::mkdtemp(name.data());
    log = (directory / "flows.jsonl").string();
  }
  ~SpoolTest() override { fs::remove_all(directory); }

  Spool open() const { return Spool::open(log, (directory / "state" / "otlp.json").string()).value(); }
  static std::string line(int number, const std::string& instance = "n:a") {
    return R"({"id":")" + instance + ":" + std::to_string(number) + R"("})";
  }
  void write(int first, int last, const std::string& instance = "n:a") const {
    std::ofstream out(log, std::ios::app);
    for (int i = first; i <= last; ++i) out << line(i, instance) << '\n';
  }
  /// As the flow log rotates: a name that sorts after those before it.
  std::string rotate(int number) const {
    fs::create_directories(directory / "rotated");
    const auto to = directory / "rotated" / ("flows-20261123T17300" + std::to_string(number) + ".123456Z.jsonl");
    fs::rename(log, to);
    return to.string();
  }
  /// The numbers of the records of the next batch, which is done with then.
  static std::vector<int> take(Spool& spool, std::size_t lines = 100, std::size_t bytes = 10'000) {
    const auto batch = spool.next(lines, bytes);
    EXPECT_TRUE(spool.commit(batch));
    std::vector<int> numbers;
    for (const auto& text : batch.lines) numbers.push_back(std::stoi(text.substr(text.rfind(':') + 1)));
    return numbers;
  }

  fs::path directory;
  std::string log;
};

TEST_F(SpoolTest, BeginsWithWhatIsWrittenFromNowOn) {
  write(1, 3);
  auto spool = open();
  EXPECT_THAT(take(spool), IsEmpty());
  write(4, 5);
  EXPECT_THAT(take(spool), ElementsAre(4, 5));
  EXPECT_THAT(take(spool), IsEmpty());
}

TEST_F(SpoolTest, WaitsForALogThatIsNotThereYet) {
  auto spool = open();
  EXPECT_THAT(take(spool), IsEmpty());
  write(1, 2);
  EXPECT_THAT(take(spool), ElementsAre(1, 2));
}

TEST_F(SpoolTest, GivesABatchAgainUntilItIsCommitted) {
  auto spool = open();
  write(1, 2);
  EXPECT_EQ(spool.next(10, 1000).lines.size(), 2U);
  write(3, 3);
  EXPECT_THAT(take(spool), ElementsAre(1, 2, 3));
}

TEST_F(SpoolTest, KeepsWithinItsLimitsAndGivesOneLineAtLeast) {
  auto spool = open();
  write(1, 5);
  EXPECT_THAT(take(spool, 2), ElementsAre(1, 2));
  EXPECT_THAT(take(spool, 100, 1), ElementsAre(3));
  EXPECT_THAT(take(spool, 100, 2 * (line(1).size() + 1)), ElementsAre(4, 5));
}

TEST_F(SpoolTest, LeavesALineThatIsBeingWritten) {
  auto spool = open();
  write(1, 1);
  std::ofstream(log, std::ios::app) << line(2).substr(0, 5);
  EXPECT_THAT(take(spool), ElementsAre(1));
  EXPECT_THAT(take(spool), IsEmpty());
  std::ofstream(log, std::ios::app) << line(2).substr(5) << '\n';
  EXPECT_THAT(take(spool), ElementsAre(2));
}

TEST_F(SpoolTest, FollowsRotations) {
  auto spool = open();
  write(1, 3);
  EXPECT_THAT(take(spool, 2), ElementsAre(1, 2));
  rotate(1);
  write(4, 5);
  rotate(2);
  write(6, 6);
  EXPECT_THAT(take(spool, 2), ElementsAre(3, 4));
  EXPECT_THAT(take(spool), ElementsAre(5, 6));
  rotate(3);
  EXPECT_THAT(take(spool), IsEmpty());
  write(7, 7);
  EXPECT_THAT(take(spool), ElementsAre(7));
}

TEST_F(SpoolTest, GoesOnAfterARestart) {
  {
    auto spool = open();
    write(1, 4);
    EXPECT_THAT(take(spool, 3), ElementsAre(1, 2, 3));
  }
  write(5, 5);
  auto spool = open();
  EXPECT_THAT(take(spool), ElementsAre(4, 5));
}

TEST_F(SpoolTest, CountsWhatTheQuotaDeletedBeforeItWasSent) {
  auto spool = open();
  write(1, 4);
  EXPECT_THAT(take(spool, 2), ElementsAre(1, 2));
  const auto first = rotate(1);
  write(5, 9);
  const auto second = rotate(2);
  write(10, 11);
  fs::remove(first);
  fs::remove(second);
  const auto batch = spool.next(100, 10'000);
  EXPECT_EQ(batch.missed, 7U) << "3 to 9";
  EXPECT_THAT(take(spool), ElementsAre(10, 11));
  write(1, 2, "n:b");  // another run's numbers begin anew
  EXPECT_EQ(spool.next(100, 10'000).missed, 0U);
}

TEST_F(SpoolTest, StateThatIsDamagedIsAsNone) {
  write(1, 2);
  fs::create_directories(directory / "state");
  for (const char* text : {"", "{", "{}", R"({"format":"podfence.sink/v1"})"}) {
    std::ofstream(directory / "state" / "otlp.json") << text;
    auto spool = open();
    EXPECT_THAT(take(spool), IsEmpty()) << text;
  }
  std::ofstream(directory / "state" / "otlp.json") << R"({"format":"podfence.sink/v2"})";
  const auto later = Spool::open(log, (directory / "state" / "otlp.json").string());
  ASSERT_FALSE(later) << "of a later version: it is not written over";
}

}  // namespace
}  // namespace podfence::sink
