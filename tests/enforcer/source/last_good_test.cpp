// A broken file at the start: what an earlier run found good in it goes on (D-20, V-11, R-09).
#include "enforcer/source/last_good.h"

#include <algorithm>

#include "tests/enforcer/source/directory.h"

namespace podfence::source {
namespace {

class LastGoodFile : public ::testing::Test {
 protected:
  Reader start() const { return Reader(directory, {.limits = {}, .last_good_directory = copies().string()}); }
  fs::path copies() const { return directory.base() / "last-good"; }
  std::ptrdiff_t count() const { return std::distance(fs::directory_iterator(copies()), fs::directory_iterator()); }

  Directory directory;
};

TEST_F(LastGoodFile, OutlivesARestart) {
  directory.write("a.yaml", pod_yaml("a"));
  directory.write("b.yaml", pod_yaml("b"));
  EXPECT_EQ(start().rescan(), "+a=web +b=web");
  for (const auto* broken : {"a: [", "apiVersion: v1\nkind: Pod\nmetadata: {name: A!, namespace: shop}\n"}) {
    directory.write("a.yaml", broken);
    auto reader = start();
    EXPECT_EQ(reader.rescan(), "+a=web +b=web") << broken;
    const auto status = reader.status(directory.path("a.yaml"));
    EXPECT_TRUE(status.has_errors());
    EXPECT_TRUE(status.stale);
    EXPECT_TRUE(status.stale_since);
    EXPECT_EQ(status.objects, 1U);
    directory.write("a.yaml", pod_yaml("a", "cli"));
    EXPECT_EQ(reader.poll(), "+a=cli");
    EXPECT_FALSE(reader.status(directory.path("a.yaml")).stale);
    directory.write("a.yaml", pod_yaml("a"));
    EXPECT_EQ(reader.poll(), "+a=web");
  }
}

TEST_F(LastGoodFile, IsTheLastOneAndNotTheFirst) {
  directory.write("a.yaml", pod_yaml("a"));
  {
    auto reader = start();
    EXPECT_EQ(reader.rescan(), "+a=web");
    directory.write("a.yaml", pod_yaml("a", "cli"));
    EXPECT_EQ(reader.poll(), "+a=cli");
    directory.write("a.yaml", "a: [");
    EXPECT_EQ(reader.poll(), "");
  }
  EXPECT_EQ(start().rescan(), "+a=cli");
}

TEST_F(LastGoodFile, GoesWithItsFile) {
  directory.write("a.yaml", pod_yaml("a"));
  directory.write("b.yaml", pod_yaml("b"));
  {
    auto reader = start();
    EXPECT_EQ(reader.rescan(), "+a=web +b=web");
    EXPECT_EQ(count(), 2);
    directory.remove("a.yaml");
    EXPECT_EQ(reader.poll(), "-a");
    EXPECT_EQ(count(), 1);
  }
  directory.remove("b.yaml");  // while nobody looks
  EXPECT_EQ(start().rescan(), "");
  EXPECT_EQ(count(), 0);
  directory.write("b.yaml", "a: [");
  EXPECT_EQ(start().rescan(), "") << "of another file";
}

TEST_F(LastGoodFile, OfAnObjectThatCountsAgainIsReadFromTheCopy) {
  directory.write("a.yaml", pod_yaml("x", "first"));
  directory.write("b.yaml", pod_yaml("x", "second"));
  EXPECT_EQ(start().rescan(), "+x=first");
  directory.write("b.yaml", "a: [");
  auto reader = start();
  EXPECT_EQ(reader.rescan(), "+x=first");
  directory.remove("a.yaml");
  EXPECT_EQ(reader.poll(), "+x=second");
}

TEST_F(LastGoodFile, ThatIsDamagedCountsAsNone) {
  directory.write("a.yaml", pod_yaml("a"));
  EXPECT_EQ(start().rescan(), "+a=web");
  directory.write("a.yaml", "a: [");
  const auto copy = fs::directory_iterator(copies())->path();
  std::string text;
  std::getline(std::ifstream(copy), text, '\0');
  for (const auto& damaged : {std::string(), text.substr(0, 10), text.substr(0, text.size() - 1), text + "x",
                              std::string("podfence.last-good/v1 x 1\n"), std::string(300, '\xff')}) {
    std::ofstream(copy) << damaged;
    auto reader = start();
    EXPECT_EQ(reader.rescan(), "") << damaged;
    EXPECT_FALSE(reader.status(directory.path("a.yaml")).stale);
  }
  std::ofstream(copy) << text;
  EXPECT_EQ(start().rescan(), "+a=web");
}

TEST_F(LastGoodFile, ThatCannotBeWrittenIsToldAndNoError) {
  directory.write("a.yaml", pod_yaml("a"));
  auto reader = start();
  fs::remove_all(copies());
  EXPECT_EQ(reader.rescan(), "+a=web");
  const auto status = reader.status(directory.path("a.yaml"));
  ASSERT_EQ(status.diagnostics.size(), 1U);
  EXPECT_EQ(status.diagnostics[0].message.find("is not kept for a restart: "), 0U) << status.diagnostics[0].message;
  EXPECT_FALSE(status.has_errors());
}

TEST_F(LastGoodFile, IsNotWrittenAgain) {
  directory.write("a.yaml", pod_yaml("a"));
  start().rescan();
  const auto copy = fs::directory_iterator(copies())->path();
  const auto first = fs::last_write_time(copy);
  fs::permissions(copies(), fs::perms::owner_read | fs::perms::owner_exec);
  auto reader = start();
  EXPECT_EQ(reader.rescan(), "+a=web");
  EXPECT_EQ(fs::last_write_time(copy), first);
  EXPECT_TRUE(reader.status(directory.path("a.yaml")).diagnostics.empty());
  fs::permissions(copies(), fs::perms::owner_all);
}

}  // namespace
}  // namespace podfence::source
