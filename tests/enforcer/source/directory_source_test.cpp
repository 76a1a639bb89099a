// What the contents of files become.
#include "enforcer/source/directory_source.h"

#include <sys/stat.h>

#include "tests/enforcer/source/directory.h"

namespace podfence::source {
namespace {

TEST(DirectorySource, reads_every_manifest_below) {
  const Directory directory;
  directory.write("a.yaml", pod_yaml("a"));
  directory.write("b.yml", pod_yaml("b"));
  directory.write("c.json", R"({"apiVersion":"v1","kind":"Node","metadata":{"name":"c"}})");
  directory.write("deep/er/d.yaml", pod_yaml("d") + "---\n" + pod_yaml("e"));
  directory.write("readme.txt", "no manifest");
  directory.write("x.yaml.bak", pod_yaml("x"));
  directory.write(".hidden.yaml", pod_yaml("x"));
  directory.write(".git/x.yaml", pod_yaml("x"));
  Reader reader(directory);
  EXPECT_EQ(reader.rescan(), "+a=web +b=web +c +d=web +e=web");
  EXPECT_TRUE(reader.synced());
  EXPECT_EQ(reader.rescan(), "");
  EXPECT_EQ(reader.poll(), "");
  EXPECT_EQ(reader.source().files().size(), 4U);
  EXPECT_EQ(reader.status(directory.path("deep/er/d.yaml")).objects, 2U);
}

TEST(DirectorySource, must_not_be_a_file) {
  const Directory directory;
  directory.write("a.yaml", pod_yaml("a"));
  const auto opened = DirectorySource::open(directory.path("a.yaml"));
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().what(), directory.path("a.yaml") + ": is no directory");
  EXPECT_FALSE(DirectorySource::open(""));
}

// D-24, D-25
TEST(DirectorySource, gives_events_only_for_what_changed) {
  const Directory directory;
  directory.write("a.yaml", pod_yaml("a") + "---\n" + pod_yaml("b") + "---\n" + pod_yaml("c"));
  Reader reader(directory);
  reader.rescan();
  directory.write("a.yaml", "# reordered\n" + pod_yaml("c") + "---\n" + pod_yaml("b", "cli") + "---\n" + pod_yaml("d"));
  EXPECT_EQ(reader.poll(), "+b=cli +d=web -a");
  directory.write("a.yaml", pod_yaml("d") + "---\n" + pod_yaml("c") + "---\n" + pod_yaml("b", "cli"));
  EXPECT_EQ(reader.poll(), "");
}

TEST(DirectorySource, an_invalid_file_keeps_its_last_good_content) {
  const Directory directory;
  directory.write("a.yaml", pod_yaml("a"));
  Reader reader(directory);
  reader.rescan();
  const std::string file = directory.path("a.yaml");
  EXPECT_FALSE(reader.status(file).has_errors());
  EXPECT_FALSE(reader.status(file).stale);

  directory.write("a.yaml", "a: [");  // as a whole
  EXPECT_EQ(reader.poll(), "");
  EXPECT_TRUE(reader.status(file).has_errors());
  EXPECT_TRUE(reader.status(file).stale);
  ASSERT_TRUE(reader.status(file).stale_since);
  const auto since = *reader.status(file).stale_since;
  EXPECT_EQ(reader.status(file).objects, 1U);

  directory.write("a.yaml", pod_yaml("b") + "status: {podIP: x}\n");  // in a field
  EXPECT_EQ(reader.poll(), "");
  EXPECT_EQ(reader.status(file).diagnostics.at(0).path, "status.podIP");
  EXPECT_EQ(reader.status(file).stale_since, since);
  EXPECT_EQ(reader.rescan(), "");

  directory.write("a.yaml", pod_yaml("b"));
  EXPECT_EQ(reader.poll(), "+b=web -a");
  EXPECT_FALSE(reader.status(file).stale);
  EXPECT_FALSE(reader.status(file).stale_since);
  EXPECT_TRUE(reader.status(file).diagnostics.empty());
}

TEST(DirectorySource, a_file_that_was_never_good_counts_as_far_as_it_goes) {
  const Directory directory;
  directory.write("a.yaml", pod_yaml("a") + "---\n" + pod_yaml("b") + "status: {podIP: x}\n");
  directory.write("b.yaml", "][");
  Reader reader(directory);
  EXPECT_EQ(reader.rescan(), "+a=web +b=web");
  EXPECT_TRUE(reader.synced());
  const auto status = reader.status(directory.path("a.yaml"));
  EXPECT_TRUE(status.has_errors());
  EXPECT_FALSE(status.stale);
  EXPECT_TRUE(reader.status(directory.path("b.yaml")).has_errors());
  EXPECT_EQ(reader.status(directory.path("b.yaml")).diagnostics.at(0).message.substr(0, 7), "line 1:");
  directory.write("a.yaml", pod_yaml("c") + "status: {podIP: x}\n");
  EXPECT_EQ(reader.poll(), "+c=web -a -b");
}

TEST(DirectorySource, warnings_are_no_errors) {
  const Directory directory;
  directory.write("a.yaml",
                  "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: {foo: 1}\n");
  Reader reader(directory);
  EXPECT_EQ(reader.rescan(), "+p");
  EXPECT_FALSE(reader.status(directory.path("a.yaml")).has_errors());
  EXPECT_EQ(reader.status(directory.path("a.yaml")).diagnostics.size(), 2U);
}

TEST(DirectorySource, a_removed_file_takes_its_objects_away) {
  const Directory directory;
  directory.write("a.yaml", pod_yaml("a"));
  directory.write("b.yaml", pod_yaml("b"));
  Reader reader(directory);
  reader.rescan();
  directory.remove("a.yaml");
  EXPECT_EQ(reader.poll(), "-a");
  EXPECT_EQ(reader.source().files().size(), 1U);
  directory.write("b.yaml", "");
  EXPECT_EQ(reader.poll(), "-b");
}

TEST(DirectorySource, of_an_object_in_two_files_the_first_by_path_counts) {
  const Directory directory;
  directory.write("b.yaml", pod_yaml("x", "from-b"));
  Reader reader(directory);
  EXPECT_EQ(reader.rescan(), "+x=from-b");
  directory.write("c.yaml", pod_yaml("x", "from-c"));
  EXPECT_EQ(reader.poll(), "");
  const auto loser = reader.status(directory.path("c.yaml"));
  EXPECT_EQ(loser.objects, 0U);
  EXPECT_EQ(loser.diagnostics.at(0).message, "Pod shop/x is also in " + directory.path("b.yaml") + ", which counts");
  EXPECT_FALSE(loser.has_errors());
  directory.write("a.yaml", pod_yaml("x", "from-a"));
  EXPECT_EQ(reader.poll(), "+x=from-a");
  EXPECT_EQ(reader.status(directory.path("b.yaml")).diagnostics.size(), 1U);
  directory.remove("a.yaml");
  EXPECT_EQ(reader.poll(), "+x=from-b");  // read again, since only its fingerprint was kept
  EXPECT_TRUE(reader.status(directory.path("b.yaml")).diagnostics.empty());
  directory.write("b.yaml", pod_yaml("other"));
  EXPECT_EQ(reader.poll(), "+other=web +x=from-c");
  EXPECT_EQ(reader.status(directory.path("c.yaml")).objects, 1U);
  directory.remove("c.yaml");
  EXPECT_EQ(reader.poll(), "-x");
}

TEST(DirectorySource, an_object_that_moves_to_another_file_is_no_event) {
  const Directory directory;
  directory.write("a.yaml", pod_yaml("x") + "---\n" + pod_yaml("other"));
  Reader reader(directory);
  reader.rescan();
  directory.write("a.yaml", pod_yaml("other"));
  directory.write("b.yaml", pod_yaml("x"));
  EXPECT_EQ(reader.poll(), "");
  directory.rename("b.yaml", "c.yaml");
  EXPECT_EQ(reader.poll(), "");
  EXPECT_EQ(reader.status(directory.path("c.yaml")).objects, 1U);
}

TEST(DirectorySource, an_object_twice_in_a_file_is_reported_and_the_last_one_counts) {
  const Directory directory;
  directory.write("a.yaml", pod_yaml("x", "first") + "---\n" + pod_yaml("x", "last"));
  Reader reader(directory);
  EXPECT_EQ(reader.rescan(), "+x=last");
  EXPECT_EQ(reader.status(directory.path("a.yaml")).diagnostics.size(), 1U);
  EXPECT_EQ(reader.status(directory.path("a.yaml")).objects, 1U);
}

TEST(DirectorySource, when_the_next_file_in_line_is_broken_the_object_stays_as_it_is) {
  const Directory directory;
  directory.write("a.yaml", pod_yaml("x", "from-a"));
  directory.write("b.yaml", pod_yaml("x", "from-b"));
  Reader reader(directory);
  EXPECT_EQ(reader.rescan(), "+x=from-a");
  directory.write("b.yaml", "][");
  EXPECT_EQ(reader.poll(), "");
  directory.remove("a.yaml");
  EXPECT_EQ(reader.poll(), "");
  directory.write("b.yaml", pod_yaml("x", "from-b"));
  EXPECT_EQ(reader.poll(), "+x=from-b");
}

TEST(DirectorySource, a_file_that_is_too_large_keeps_its_last_good_content) {
  const Directory directory;
  directory.write("a.yaml", pod_yaml("a"));
  Options options;
  options.limits.bytes = 200;
  Reader reader(directory, options);
  EXPECT_EQ(reader.rescan(), "+a=web");
  directory.write("a.yaml", pod_yaml("a", "cli") + std::string(200, '#'));
  EXPECT_EQ(reader.poll(), "");
  EXPECT_TRUE(reader.status(directory.path("a.yaml")).stale);
  EXPECT_EQ(reader.status(directory.path("a.yaml")).diagnostics.at(0).message, "is larger than 200 bytes");
}

TEST(DirectorySource, a_file_that_is_being_written_is_read_when_the_writer_is_done) {
  const Directory directory;
  directory.write("a.yaml", pod_yaml("a") + "---\n" + pod_yaml("b"));
  Reader reader(directory);
  EXPECT_EQ(reader.rescan(), "+a=web +b=web");
  std::ofstream writer(directory.root() / "a.yaml");  // it is empty now
  writer << pod_yaml("a", "cli") << std::flush;
  EXPECT_EQ(reader.poll(), "");
  EXPECT_EQ(reader.rescan(), "");
  writer << "---\n" << pod_yaml("b");
  writer.close();
  EXPECT_EQ(reader.poll(), "+a=cli");
}

TEST(DirectorySource, what_is_no_regular_file_is_left_alone) {
  const Directory directory;
  directory.write("a.yaml", pod_yaml("a"));
  ASSERT_EQ(::mkfifo(directory.path("b.yaml").c_str(), 0600), 0);
  fs::create_directory(directory.root() / "c.yaml");
  directory.write("c.yaml/d.yaml", pod_yaml("d"));
  Reader reader(directory);
  EXPECT_EQ(reader.rescan(), "+a=web +d=web");
  EXPECT_EQ(reader.source().files().size(), 2U);
}

}  // namespace
}  // namespace podfence::source
