#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "enforcer/files/files.h"
#include "enforcer/sandbox/durable.h"
#include "enforcer/sandbox/result_cache.h"
#include "tests/enforcer/sandbox/sandboxes.h"

namespace podfence::test {
namespace {

namespace fs = std::filesystem;

class Durable : public testing::Test {
 protected:
  Durable() {
    std::string pattern = (fs::temp_directory_path() / "podfence-sandbox-XXXXXX").string();
    directory_ = ::mkdtemp(pattern.data());
  }
  ~Durable() override { fs::remove_all(directory_); }
  void write(const std::string& name, const std::string& text) const {
    const auto path = fs::path(directory_) / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  std::string directory_;
};

TEST_F(Durable, attachments_are_found_again) {
  auto a = plugged("a", "web", {"10.0.0.2", "fd00::2"}, "uid");
  a.host_ifindex = 4'000'000'000;
  a.bridge = "cni0";
  a.sequence = 7;
  const auto files = sandbox::AttachmentFiles::open(directory_);
  ASSERT_TRUE(files) << files.error().what();
  ASSERT_TRUE(files->save(a));
  ASSERT_TRUE(files->save(plugged("b", "", {})));
  struct stat info {};
  ASSERT_EQ(::stat((directory_ + "/attachments").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0700U);
  auto loaded = files->load();
  EXPECT_TRUE(loaded.problems.empty());
  ASSERT_EQ(loaded.attachments.size(), 2U);
  EXPECT_EQ(loaded.attachments[0], a);
  ASSERT_TRUE(files->erase(a.key));
  ASSERT_TRUE(files->erase(a.key));
  EXPECT_EQ(files->load().attachments.size(), 1U);
}

TEST_F(Durable, files_that_are_none_are_reported_and_left_alone) {
  const auto files = sandbox::AttachmentFiles::open(directory_);
  ASSERT_TRUE(files);
  ASSERT_TRUE(files->save(plugged("good", "web", {"10.0.0.2"})));
  const auto good = json_of(plugged("other", "web", {"10.0.0.2"}));
  write("attachments/empty@eth0.json", "");
  write("attachments/half@eth0.json", good.substr(0, good.size() / 2));
  write("attachments/wrong-name@eth0.json", good);
  write("attachments/list@eth0.json", "[1,2]");
  write("attachments/address@eth0.json", R"({"container_id":"address","ifname":"eth0","network":"n","netns":"",)"
                                         R"("host_interface":"","host_ifindex":1,"bridge":"","addresses":["10.0.0"],)"
                                         R"("pod_namespace":"","pod_name":"","pod_uid":"","sequence":1})");
  write("attachments/.tmp-half@eth0.json", "{");
  fs::create_directory(directory_ + "/attachments/dir@eth0.json");
  fs::create_symlink("/etc/passwd", directory_ + "/attachments/link@eth0.json");
  const auto loaded = files->load();
  ASSERT_EQ(loaded.attachments.size(), 1U);
  EXPECT_EQ(loaded.attachments[0].key.container_id, "good");
  EXPECT_EQ(loaded.problems.size(), 7U);
  EXPECT_TRUE(fs::exists(directory_ + "/attachments/half@eth0.json"));
}

TEST(Attachment, keys_are_names_of_files_and_nothing_else) {  // P6, P7
  for (const char* good : {"a@eth0", "0a_.-@net1", "c@with@at"}) EXPECT_TRUE(sandbox::parse_key(good)) << good;
  for (const char* bad : {"", "@", "a@", "@eth0", "a/b@eth0", "../a@eth0", "a@..", "a@.", "a@e/0", "a@e:0", "a@e 0",
                          ".a@eth0", "-a@eth0", "a@0123456789abcdef", "a", "a\n@eth0"}) {
    EXPECT_FALSE(sandbox::parse_key(bad)) << bad;
  }
  EXPECT_FALSE(sandbox::parse_key(std::string(201, 'a') + "@eth0"));
  EXPECT_TRUE(sandbox::parse_key(std::string(200, 'a') + "@eth0"));
}

TEST(Attachment, no_cut_and_no_flipped_byte_breaks_the_reader) {
  const auto whole = json_of(plugged("a", "web", {"10.0.0.2", "fd00::2"}));
  for (std::size_t i = 0; i < whole.size(); ++i) {
    EXPECT_FALSE(sandbox::parse_attachment(whole.substr(0, i)));
    for (const char c : {'\0', '"', '{', '9', '\xff'}) {
      auto other = whole;
      other[i] = c;
      const auto read = sandbox::parse_attachment(other);
      if (read) {
        EXPECT_TRUE(validate(read->key)) << other;
      }
    }
  }
}

TEST_F(Durable, the_journal_is_read_and_removed) {
  const sandbox::JournalFiles journal(directory_);
  EXPECT_TRUE(journal.read().entries.empty());
  EXPECT_TRUE(journal.read().problems.empty());
  write("cni-journal/a@eth0", "one");
  write("cni-journal/b@net1", "two");
  write("cni-journal/.tmp-17", "half");
  write("cni-journal/stray", "x");
  const auto read = journal.read();
  ASSERT_EQ(read.entries.size(), 2U);
  EXPECT_EQ(read.entries[0].key.container_id, "a");
  EXPECT_EQ(read.entries[1].line, "two");
  EXPECT_EQ(read.problems.size(), 1U);
  write("cni-journal/a@eth0", "another one, written meanwhile");
  journal.erase(read.entries[0]);
  EXPECT_EQ(journal.read().entries.size(), 2U);
  journal.erase(read.entries[1]);
  journal.erase(sandbox::Key{"a", "eth0"});
  EXPECT_TRUE(journal.read().entries.empty());
}

// {"cniVersion":"1.0.0","name":"kbr","plugins":[{"type":"bridge"},{"type":"podfence-cni"}]}
constexpr const char* chain =
    "eyJjbmlWZXJzaW9uIjoiMS4wLjAiLCJuYW1lIjoia2JyIiwicGx1Z2lucyI6W3sidHlwZSI6ImJyaWRnZSJ9LHsidHlwZSI6InBvZGZlbmNlLWNu"
    "aSJ9XX0=";
// {"name":"kbr","plugins":[{"type":"bridge"}]}
constexpr const char* chain_without_us = "eyJuYW1lIjoia2JyIiwicGx1Z2lucyI6W3sidHlwZSI6ImJyaWRnZSJ9XX0=";

std::string cached(const std::string& id, const std::string& config, const std::string& result) {
  return R"({"kind":"cniCacheV1","containerId":")" + id + R"(","config":")" + config +
         R"(","ifName":"eth0","networkName":"kbr","netns":"/var/run/netns/)" + id +
         R"(","cniArgs":[["IgnoreUnknown","1"],["K8S_POD_UID","u"],["K8S_POD_NAMESPACE","ns1"],["K8S_POD_NAME","poda"]],)" +
         R"("result":)" + result + "}";
}

constexpr const char* bridge_result =
    R"({"cniVersion":"1.0.0","interfaces":[{"name":"cni0"},{"name":"vethbf0e4685"},)"
    R"({"name":"eth0","sandbox":"/var/run/netns/a"}],"ips":[{"address":"10.90.0.2/24","interface":2},)"
    R"({"address":"10.90.0.1/24","interface":0},{"address":"fd00::2/64"},{"address":"10.1.1.1/8","interface":9}]})";

TEST(ResultCache, tells_the_attachment) {
  const auto read = sandbox::parse_cached_result(cached("a", chain, bridge_result));
  ASSERT_TRUE(read) << read.error().what();
  ASSERT_TRUE(*read);
  const auto& a = **read;
  EXPECT_EQ(a.key.text(), "a@eth0");
  EXPECT_EQ(a.network, "kbr");
  EXPECT_EQ(a.netns, "/var/run/netns/a");
  EXPECT_EQ(a.host_interface, "vethbf0e4685");
  EXPECT_EQ(a.pod_namespace + "/" + a.pod_name + "/" + a.pod_uid, "ns1/poda/u");
  EXPECT_EQ(a.addresses, (std::vector<net::IpAddr>{ip("10.90.0.2"), ip("fd00::2")}));
}

TEST(ResultCache, old_results_name_their_addresses_otherwise) {  // A13
  const auto read = sandbox::parse_cached_result(
      cached("a", chain, R"({"cniVersion":"0.2.0","ip4":{"ip":"10.90.0.2/24"},"ip6":{"ip":"fd00::2/64"}})"));
  ASSERT_TRUE(read && *read);
  EXPECT_EQ((*read)->addresses.size(), 2U);
}

TEST(ResultCache, chains_without_our_plugin_are_not_ours) {
  for (const char* config : {chain_without_us, "", "!", "e30="}) {
    const auto read = sandbox::parse_cached_result(cached("a", config, bridge_result));
    ASSERT_TRUE(read);
    EXPECT_FALSE(*read) << config;
  }
}

TEST(ResultCache, no_cut_and_no_flipped_byte_breaks_the_reader) {
  const auto whole = cached("a", chain, bridge_result);
  for (std::size_t i = 0; i < whole.size(); ++i) {
    EXPECT_FALSE(sandbox::parse_cached_result(whole.substr(0, i)));
    for (const char c : {'\0', '"', '[', '-', '\xff'}) {
      auto other = whole;
      other[i] = c;
      const auto read = sandbox::parse_cached_result(other);
      if (read && *read) {
        EXPECT_TRUE(validate((*read)->key)) << other;
      }
    }
  }
}

TEST_F(Durable, the_result_cache_is_read_in_the_order_in_which_it_was_written) {
  write("results/kbr-z-eth0", cached("z", chain, bridge_result));
  fs::last_write_time(directory_ + "/results/kbr-z-eth0", fs::file_time_type::clock::now() - std::chrono::hours(1));
  write("results/kbr-a-eth0", cached("a", chain, bridge_result));
  write("results/kbr-b-eth0", cached("b", chain_without_us, bridge_result));
  write("results/broken", "{");
  const auto read = sandbox::read_result_cache(directory_ + "/results");
  ASSERT_EQ(read.attachments.size(), 2U);
  EXPECT_EQ(read.attachments[0].key.container_id, "z");
  EXPECT_EQ(read.problems.size(), 1U);
  EXPECT_TRUE(sandbox::read_result_cache(directory_ + "/nowhere").problems.empty());
}

}  // namespace
}  // namespace podfence::test
