// How changes reach the files: editors, ConfigMaps, directories that come and go, lost notifications.
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/enforcer/source/directory.h"

namespace podfence::source {
namespace {

bool is_readable(int fd) {
  pollfd waiting{fd, POLLIN, 0};
  return ::poll(&waiting, 1, 0) == 1;
}

TEST(Watching, the_descriptor_becomes_readable_when_something_happens) {
  const Directory directory;
  Reader reader(directory);
  reader.rescan();
  EXPECT_FALSE(is_readable(reader.source().fd()));
  directory.write("a.yaml", pod_yaml("a"));
  EXPECT_TRUE(is_readable(reader.source().fd()));
  EXPECT_EQ(reader.poll(), "+a=web");
  EXPECT_FALSE(is_readable(reader.source().fd()));
}

TEST(Watching, an_editor_that_renames) {
  const Directory directory;
  directory.write("a.yaml", pod_yaml("a"));
  Reader reader(directory);
  reader.rescan();
  directory.write(".a.yaml.swp", "x");
  directory.write("a.yaml~new", pod_yaml("a", "cli"));
  directory.rename("a.yaml", "a.yaml~");
  directory.rename("a.yaml~new", "a.yaml");
  directory.remove(".a.yaml.swp");
  EXPECT_EQ(reader.poll(), "+a=cli");
}

TEST(Watching, an_editor_that_deletes_and_writes_again) {
  const Directory directory;
  directory.write("a.yaml", pod_yaml("a"));
  Reader reader(directory);
  reader.rescan();
  directory.remove("a.yaml");
  directory.write("a.yaml", pod_yaml("a", "cli"));
  EXPECT_EQ(reader.poll(), "+a=cli");
}

TEST(Watching, a_file_that_becomes_a_manifest_by_its_name_and_back) {
  const Directory directory;
  directory.write("a.txt", pod_yaml("a"));
  Reader reader(directory);
  EXPECT_EQ(reader.rescan(), "");
  directory.rename("a.txt", "a.yaml");
  EXPECT_EQ(reader.poll(), "+a=web");
  directory.rename("a.yaml", "a.txt");
  EXPECT_EQ(reader.poll(), "-a");
}

TEST(Watching, a_truncated_file) {
  const Directory directory;
  directory.write("a.yaml", pod_yaml("a"));
  Reader reader(directory);
  reader.rescan();
  ASSERT_EQ(::truncate(directory.path("a.yaml").c_str(), 0), 0);
  EXPECT_EQ(reader.poll(), "-a");
}

TEST(Watching, sub_directories_come_and_go) {
  const Directory directory;
  Reader reader(directory);
  reader.rescan();
  directory.write("x/y/a.yaml", pod_yaml("a"));
  EXPECT_EQ(reader.poll(), "+a=web");
  directory.write("x/y/b.yaml", pod_yaml("b"));
  EXPECT_EQ(reader.poll(), "+b=web");
  directory.rename("x", "z");
  EXPECT_EQ(reader.poll(), "");
  EXPECT_EQ(reader.status(directory.path("z/y/a.yaml")).objects, 1U);
  directory.write("z/y/a.yaml", pod_yaml("a", "cli"));
  EXPECT_EQ(reader.poll(), "+a=cli");
  fs::rename(directory.root() / "z", directory.base() / "away");
  EXPECT_EQ(reader.poll(), "-a -b");
  fs::rename(directory.base() / "away", directory.root() / "back");
  EXPECT_EQ(reader.poll(), "+a=cli +b=web");
  directory.remove("back");
  EXPECT_EQ(reader.poll(), "-a -b");
}

/// The way in which the kubelet mounts a ConfigMap: files are links through "..data", which is a link that is swapped.
void publish(const Directory& directory, const std::string& version, const std::string& text) {
  directory.write(".." + version + "/a.yaml", text);
  directory.link(".." + version, "..data_tmp");
  directory.rename("..data_tmp", "..data");
}

TEST(Watching, a_config_map_that_is_swapped) {
  const Directory directory;
  publish(directory, "v1", pod_yaml("a"));
  directory.link("..data/a.yaml", "a.yaml");
  Reader reader(directory);
  EXPECT_EQ(reader.rescan(), "+a=web");
  EXPECT_EQ(reader.source().files().size(), 1U);
  publish(directory, "v2", pod_yaml("a", "cli"));
  directory.remove("..v1");
  EXPECT_EQ(reader.poll(), "+a=cli");
  publish(directory, "v3", pod_yaml("b"));
  EXPECT_EQ(reader.poll(), "+b=web -a");
  publish(directory, "v4", "][");
  EXPECT_EQ(reader.poll(), "");
  EXPECT_TRUE(reader.status(directory.path("a.yaml")).stale);
}

TEST(Watching, a_link_to_a_file_elsewhere) {
  const Directory directory;
  const fs::path outside = directory.base() / "outside.yaml";
  std::ofstream(outside) << pod_yaml("a");
  directory.link(outside.string(), "a.yaml");
  Reader reader(directory);
  EXPECT_EQ(reader.rescan(), "+a=web");
  std::ofstream(outside) << pod_yaml("a", "cli");
  EXPECT_EQ(reader.poll(), "+a=cli");
  std::ofstream(directory.base() / "new") << pod_yaml("b");
  fs::rename(directory.base() / "new", outside);
  EXPECT_EQ(reader.poll(), "+b=web -a");
  std::ofstream(outside) << pod_yaml("c");
  EXPECT_EQ(reader.poll(), "+c=web -b");
  directory.remove("a.yaml");
  EXPECT_EQ(reader.poll(), "-c");
}

TEST(Watching, links_to_directories_and_loops) {
  const Directory directory;
  fs::create_directory(directory.base() / "outside");
  std::ofstream(directory.base() / "outside" / "a.yaml") << pod_yaml("a");
  directory.link((directory.base() / "outside").string(), "in");
  directory.link(".", "loop");
  directory.link("..", "up");
  directory.link("in", "twice");
  directory.link("nowhere", "dangling.yaml");
  Reader reader(directory);
  EXPECT_EQ(reader.rescan(), "+a=web");
  EXPECT_EQ(reader.source().files().size(), 1U);
  std::ofstream(directory.base() / "outside" / "b.yaml") << pod_yaml("b");
  EXPECT_EQ(reader.poll(), "+b=web");
  directory.remove("in");
  EXPECT_EQ(reader.poll(), "-a -b");  // "twice" leads nowhere now
}

TEST(Watching, a_directory_that_is_missing_and_comes) {
  const Directory directory;
  fs::remove(directory.root());
  Reader reader(directory);
  EXPECT_EQ(reader.rescan(), "");
  EXPECT_FALSE(reader.synced());
  EXPECT_EQ(reader.status(directory.root().string()).diagnostics.at(0).message, "is not there");
  directory.write("a.yaml", pod_yaml("a"));
  EXPECT_EQ(reader.poll(), "+a=web");
  EXPECT_TRUE(reader.synced());
  EXPECT_EQ(reader.source().files().size(), 1U);
}

// what was closed does not open because the directory goes away.
TEST(Watching, R_06_a_directory_that_goes_away_leaves_all_in_force) {
  const Directory directory;
  directory.write("a.yaml", pod_yaml("a"));
  directory.write("b.yaml", pod_yaml("b"));
  Reader reader(directory);
  reader.rescan();
  fs::remove_all(directory.root());
  EXPECT_EQ(reader.poll(), "");
  EXPECT_TRUE(reader.synced());
  EXPECT_TRUE(reader.status(directory.root().string()).has_errors());
  EXPECT_EQ(reader.cluster().pods().size(), 2U);
  directory.write("a.yaml", pod_yaml("a", "cli"));
  EXPECT_EQ(reader.poll(), "+a=cli -b");
  EXPECT_FALSE(reader.status(directory.root().string()).has_errors());
}

TEST(Watching, a_directory_that_is_replaced) {
  const Directory directory;
  directory.write("a.yaml", pod_yaml("a"));
  directory.write("b.yaml", pod_yaml("b"));
  Reader reader(directory);
  reader.rescan();
  fs::create_directory(directory.base() / "next");
  std::ofstream(directory.base() / "next" / "a.yaml") << pod_yaml("a");
  std::ofstream(directory.base() / "next" / "c.yaml") << pod_yaml("c");
  fs::rename(directory.root(), directory.base() / "old");
  fs::rename(directory.base() / "next", directory.root());
  EXPECT_EQ(reader.poll(), "+c=web -b");
  directory.write("c.yaml", pod_yaml("c", "cli"));
  EXPECT_EQ(reader.poll(), "+c=cli");
  std::ofstream(directory.base() / "old" / "a.yaml") << pod_yaml("z");
  EXPECT_EQ(reader.poll(), "");
}

TEST(Watching, a_root_that_is_a_link_that_is_swapped) {
  const Directory directory;
  fs::remove(directory.root());
  for (const std::string version : {"v1", "v2"}) {
    fs::create_directory(directory.base() / version);
    std::ofstream(directory.base() / version / "a.yaml") << pod_yaml("a", version);
  }
  fs::create_symlink("v1", directory.root());
  Reader reader(directory);
  EXPECT_EQ(reader.rescan(), "+a=v1");
  fs::create_symlink("v2", directory.base() / "tmp");
  fs::rename(directory.base() / "tmp", directory.root());
  EXPECT_EQ(reader.poll(), "+a=v2");
}

TEST(Watching, lost_notifications_are_made_up_for) {
  const Directory directory;
  directory.write("a.yaml", pod_yaml("a"));
  Reader reader(directory);
  reader.rescan();
  std::size_t most = 0;
  std::ifstream("/proc/sys/fs/inotify/max_queued_events") >> most;
  ASSERT_GT(most, 0U);
  ASSERT_LT(most, 1000000U);
  for (std::size_t i = 0; i <= most; i += 2) {  // alternating, since equal ones in a row are one
    ::close(::open(directory.path(i % 4 == 0 ? "x" : "y").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    directory.remove(i % 4 == 0 ? "x" : "y");
  }
  directory.write("a.yaml", pod_yaml("a", "cli"));
  directory.write("b.yaml", pod_yaml("b"));
  EXPECT_EQ(reader.poll(), "+a=cli +b=web");
}

/// Runs as nobody, since nothing is unreadable for root. 0 when all held.
int as_nobody(const std::function<void()>& run) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (::geteuid() == 0 && (::setgid(65534) != 0 || ::setuid(65534) != 0)) ::_exit(2);
    run();
    ::_exit(testing::Test::HasFailure() ? 1 : 0);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  return status;
}

TEST(Watching, an_unreadable_file_keeps_its_last_good_content) {
  const int status = as_nobody([] {
    const Directory directory;
    directory.write("a.yaml", pod_yaml("a"));
    directory.write("d/b.yaml", pod_yaml("b"));
    Reader reader(directory);
    EXPECT_EQ(reader.rescan(), "+a=web +b=web");
    ::chmod(directory.path("a.yaml").c_str(), 0);
    EXPECT_EQ(reader.poll(), "");
    EXPECT_TRUE(reader.status(directory.path("a.yaml")).stale);
    EXPECT_EQ(reader.status(directory.path("a.yaml")).diagnostics.at(0).message, "cannot be read: Permission denied");
    ::chmod(directory.path("a.yaml").c_str(), 0600);
    EXPECT_EQ(reader.poll(), "");
    EXPECT_FALSE(reader.status(directory.path("a.yaml")).stale);

    ::chmod(directory.path("d").c_str(), 0);
    EXPECT_EQ(reader.poll(), "");
    EXPECT_EQ(reader.rescan(), "");
    EXPECT_TRUE(reader.status(directory.path("d")).has_errors());
    ::chmod(directory.path("d").c_str(), 0700);
    EXPECT_EQ(reader.poll(), "");
    EXPECT_FALSE(reader.status(directory.path("d")).has_errors());
    directory.write("d/b.yaml", pod_yaml("b", "cli"));
    EXPECT_EQ(reader.poll(), "+b=cli");
  });
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace podfence::source
