#include "enforcer/flow/reader.h"

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include "enforcer/flow/output.h"
#include "tests/enforcer/flow/files.h"

namespace podfence::flow {
namespace {

namespace fs = std::filesystem;

TimePoint at(const char* text) {
  return parse_time(text).value();
}

/// Known by its count; `time` later than the one before.
std::string numbered(std::uint64_t number) {
  FlowRecord record;
  record.time = record.end = at("2026-11-23T10:00:00Z") + std::chrono::seconds(number);
  record.count = number;
  return RecordWriter("n1", "", "i").line(record, number, record.end);
}

/// A flow log with its files rotated as the agent does.
class Log {
 public:
  Log() : path_(directory_.file("flows.jsonl")) {}

  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const { return directory_.file(name); }
  void append(std::uint64_t first, std::uint64_t last) const {
    std::ofstream out(path_, std::ios::app);
    for (; first <= last; ++first) out << numbered(first);
  }
  void append(std::string_view text) const { std::ofstream(path_, std::ios::app) << text; }
  void rotate(const char* time) const {
    fs::create_directories(directory_.file("rotated"));
    fs::rename(path_, rotated_path(path_, at(time)));
  }
  std::unique_ptr<Reader> open(const Filter& filter = {}) const { return Reader::open(path_, filter).value(); }

 private:
  test::Directory directory_;
  std::string path_;
};

/// What one call gives, as "1 2 3 ".
template <class Call>
std::string numbers(Call call) {
  std::string seen;
  const Result<> done = call([&](const LoggedLine& line, std::string_view json) {
    EXPECT_EQ(json.back(), '}');
    seen += std::to_string(line.count) + " ";
    return true;
  });
  EXPECT_TRUE(done) << done.error().what();
  return seen;
}
std::string past(Reader& reader) {
  return numbers([&](const Reader::Each& each) { return reader.past(each); });
}
std::string last(Reader& reader, std::size_t most) {
  return numbers([&](const Reader::Each& each) { return reader.last(most, each); });
}
std::string poll(Reader& reader) {
  return numbers([&](const Reader::Each& each) { return reader.poll(each); });
}

TEST(Reader, ReadsRotatedFilesFirstAndSkipsWhatIsNotOurs) {
  const Log log;
  log.append(1, 2);
  log.rotate("2026-11-23T10:00:02Z");
  log.append(3, 4);
  log.rotate("2026-11-23T11:00:00Z");
  std::ofstream(log.file("rotated/flows-notes.jsonl")) << numbered(90);
  log.append(5, 6);
  log.append("not json\n{\"schema\":\"other\"}\n" + numbered(7).substr(0, 100));
  const auto reader = log.open();
  EXPECT_EQ(past(*reader), "1 2 3 4 5 6 ");
  EXPECT_EQ(reader->foreign(), 2U);
}

TEST(Reader, StopsWhenTold) {
  const Log log;
  log.append(1, 2);
  log.rotate("2026-11-23T11:00:00Z");
  log.append(3, 9);
  for (const int most : {1, 2, 3, 5}) {
    int calls = 0;
    ASSERT_TRUE(log.open()->past([&](const LoggedLine&, std::string_view) { return ++calls < most; }));
    EXPECT_EQ(calls, most);
  }
}

TEST(Reader, ALogThatIsNotThereIsAnErrorThatNamesIt) {
  const Log log;
  const auto reader = Reader::open(log.path(), {});
  ASSERT_FALSE(reader);
  EXPECT_EQ(reader.error().what(), log.path() + ": cannot be read");
}

TEST(Reader, BetweenTwoFilesThereIsNoLiveOne) {
  const Log log;
  log.append(1, 3);
  log.rotate("2026-11-23T11:00:00Z");
  const auto reader = log.open();
  EXPECT_EQ(past(*reader), "1 2 3 ");
  EXPECT_EQ(poll(*reader), "");
  log.append(4, 4);
  EXPECT_EQ(poll(*reader), "4 ");
}

TEST(Reader, LastGivesTheNewestInTheirOrder) {
  const Log log;
  log.append(1, 3);
  log.rotate("2026-11-23T10:00:03Z");
  log.append(4, 5);
  log.rotate("2026-11-23T11:00:00Z");
  log.append(6, 8);
  EXPECT_EQ(last(*log.open(), 0), "");
  EXPECT_EQ(last(*log.open(), 2), "7 8 ");
  EXPECT_EQ(last(*log.open(), 4), "5 6 7 8 ");
  EXPECT_EQ(last(*log.open(), 7), "2 3 4 5 6 7 8 ");
  EXPECT_EQ(last(*log.open(), 100), "1 2 3 4 5 6 7 8 ");
  Filter filter;
  filter.until = at("2026-11-23T10:00:04Z");
  EXPECT_EQ(last(*log.open(filter), 3), "2 3 4 ");
}

TEST(Reader, SinceNeedsNoFileThatWasRotatedBefore) {
  const Log log;
  log.append(1, 2);
  log.rotate("2026-11-23T10:00:02Z");
  log.append(400, 401);
  log.rotate("2026-11-23T10:06:41Z");
  log.append(402, 402);
  std::ofstream(rotated_path(log.path(), at("2026-11-23T10:00:02Z")), std::ios::app) << "not json\n";
  Filter filter;
  filter.since = at("2026-11-23T10:06:41Z");
  const auto reader = log.open(filter);
  EXPECT_EQ(past(*reader), "401 402 ");
  EXPECT_EQ(reader->foreign(), 0U) << "the oldest file was not opened";
}

TEST(Reader, GivesWhatIsWrittenBetweenOpeningAndReadingOnlyOnce) {
  const Log log;
  log.append(1, 2);
  const auto reader = log.open();
  log.append(3, 3);
  EXPECT_EQ(past(*reader), "1 2 ");
  EXPECT_EQ(poll(*reader), "3 ");
  EXPECT_EQ(poll(*reader), "");
}

TEST(Reader, FollowsAcrossRotations) {
  const Log log;
  log.append(1, 1);
  const auto reader = log.open();
  log.append(2, 2);
  log.append(numbered(3).substr(0, 20));  // being written
  EXPECT_EQ(poll(*reader), "2 ");
  log.append(numbered(3).substr(20));
  log.rotate("2026-11-23T11:00:00Z");
  EXPECT_EQ(past(*reader), "1 ");
  EXPECT_EQ(poll(*reader), "3 ");
  log.append(4, 4);
  log.rotate("2026-11-23T12:00:00Z");
  log.append(5, 5);
  log.rotate("2026-11-23T13:00:00Z");
  log.append(6, 6);
  EXPECT_EQ(poll(*reader), "4 5 6 ");
  fs::resize_file(log.path(), 0);
  EXPECT_EQ(poll(*reader), "");
  log.append(7, 7);
  EXPECT_EQ(poll(*reader), "7 ");
}

/// The writer of the agent: quota, rotation, a torn line at a kill, a new start.
TEST(Reader, ReadsAHistoryOverRestartsAndRotations) {
  const Log log;
  const RotateLimits limits{2000, 1'000'000};
  std::string expected;
  std::uint64_t number = 0;
  for (int run = 0; run < 5; ++run) {
    const auto output = FileOutput::open(log.path(), limits).value();
    for (int i = 0; i < 20; ++i) {
      const std::string line = numbered(++number);
      if (output->full(line.size())) {
        ASSERT_TRUE(output->rotate(at("2026-11-23T10:00:00Z") + std::chrono::seconds(number)));
      }
      ASSERT_TRUE(output->write(line));
      expected += std::to_string(number) + " ";
    }
    log.append(numbered(999).substr(0, 50));  // the kill
  }
  ASSERT_GT(rotated_files(log.path()).size(), 10U);
  EXPECT_EQ(past(*log.open()), expected);
}

/// Nothing twice, nothing left out, whatever the reader is interrupted by.
TEST(Reader, KeepsUpWithAWriterThatRotates) {
  constexpr std::uint64_t most = 4000;
  const Log log;
  const auto output = FileOutput::open(log.path(), {10'000, 1'000'000'000}).value();
  ASSERT_TRUE(output->write(numbered(1)));
  std::atomic<bool> done = false;
  std::thread writer([&] {
    for (std::uint64_t number = 2; number <= most; ++number) {
      const std::string line = numbered(number);
      if (output->full(line.size())) {
        EXPECT_TRUE(output->rotate(at("2026-11-23T10:00:00Z") + std::chrono::seconds(number)));
      }
      EXPECT_TRUE(output->write(line));
    }
    done = true;
  });
  std::uint64_t seen = 0;
  std::uint64_t faults = 0;
  const auto count = [&](const LoggedLine& line, std::string_view) {
    if (line.count != ++seen) ++faults;
    return true;
  };
  const auto reader = log.open();
  EXPECT_TRUE(reader->past(count));
  while (!done) EXPECT_TRUE(reader->poll(count));
  writer.join();
  EXPECT_TRUE(reader->poll(count));
  EXPECT_EQ(seen, most);
  EXPECT_EQ(faults, 0U);
  EXPECT_EQ(past(*log.open()).size(), [] {
    std::size_t size = 0;
    for (std::uint64_t number = 1; number <= most; ++number) size += std::to_string(number).size() + 1;
    return size;
  }());
}

}  // namespace
}  // namespace podfence::flow
