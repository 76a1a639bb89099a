// What an operator or another program may have left there: every refusal names the file and the field.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "tests/enforcer/install/node.h"

namespace podfence::install::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class Input : public Node {};

TEST_F(Input, R1_texts_that_are_no_list) {
  const std::pair<const char*, const char*> texts[] = {
      {"", "10-a.conflist: is empty"},
      {" \n", "10-a.conflist: is empty"},
      {"{", "10-a.conflist: is no JSON"},
      {"{} {}", "10-a.conflist: is no JSON"},
      {"[]", "10-a.conflist: is no JSON object"},
      {"{}", "10-a.conflist: plugins: is missing"},
      {R"({"plugins":{}})", "10-a.conflist: plugins: is no list"},
      {R"({"plugins":[]})", "10-a.conflist: plugins: is empty"},
      {R"({"plugins":[7]})", "10-a.conflist: plugins[0]: is no object"},
      {R"({"plugins":[{"type":"bridge"},{}]})", "10-a.conflist: plugins[1].type: is missing"},
      {R"({"plugins":[{"type":5}]})", "10-a.conflist: plugins[0]: type: is no text"},
      {R"({"plugins":[{"type":"../x"}]})", "10-a.conflist: plugins[0].type: has a slash"},
      {R"({"plugins":[{"type":"bridge"}]})", "10-a.conflist: name: is missing"},
      {R"({"name":"a/b","plugins":[{"type":"bridge"}]})", "10-a.conflist: name: has characters"},
      {R"({"name":"a","cniVersion":1,"plugins":[{"type":"bridge"}]})", "10-a.conflist: cniVersion: is no text"},
      {R"({"name":"a","name":"b","plugins":[{"type":"bridge"}]})", "10-a.conflist: name: is there twice"},
  };
  for (const auto& [text, says] : texts) {
    settled("10-a.conflist", text);
    EXPECT_THAT(refused(), HasSubstr(says)) << text;
    EXPECT_EQ(names().size(), 1U) << text;
    EXPECT_FALSE(exists("bin/podfence-cni"));
  }
}

TEST_F(Input, lists_that_cannot_be_chained) {
  const std::pair<const char*, const char*> texts[] = {
      {R"({"name":"a","plugins":[{"type":"bridge"}]})", "10-a.conflist: cniVersion: is 0.1.0"},
      {R"({"name":"a","cniVersion":"9.0.0","plugins":[{"type":"bridge"}]})", "10-a.conflist: cniVersion: is 9.0.0"},
      {R"({"name":"a","cniVersion":"1.0.0","cniVersions":["1.1.0","1.2.0"],"plugins":[{"type":"bridge"}]})",
       "10-a.conflist: cniVersions: has 1.2.0"},
      {R"({"name":"a","cniVersion":"1.0.0","plugins":[{"type":"macvlan"}]})",
       "10-a.conflist: plugins[0].type: macvlan"},
      {R"({"name":"a","cniVersion":"1.0.0","plugins":[{"type":"multus"}]})",
       "10-a.conflist: plugins[0].type: multus hands"},
      {R"({"name":"a","cniVersion":"1.0.0","plugins":[{"type":"podfence-cni"}]})", "nothing but podfence-cni"},
      {R"({"name":"a","cniVersion":"1.0.0","plugins":[{"type":"bridge"},{"type":"absent"}]})", "has no program absent"},
  };
  for (const auto& [text, says] : texts) {
    settled("10-a.conflist", text);
    EXPECT_THAT(refused(), HasSubstr(says)) << text;
    EXPECT_EQ(names().size(), 1U);
    EXPECT_FALSE(exists("bin/podfence-cni"));
  }
}

TEST_F(Input, R1_a_network_that_is_not_known_is_taken_with_a_warning) {
  program("bin/mynet", "exit 0");
  settled("10-a.conflist", R"({"name":"a","cniVersion":"1.0.0","plugins":[{"type":"mynet"}]})");
  EXPECT_THAT(installed().warnings.front(), HasSubstr("10-a.conflist: plugins[0].type: mynet is not known"));
}

TEST_F(Input, single_plugins_that_are_none) {
  settled("10-a.conf", bridge_list);
  EXPECT_THAT(refused(), HasSubstr("10-a.conf: plugins: a list must be in a .conflist file"));
  settled("10-a.conf", R"({"cniVersion":"1.0.0","type":"ptp"})");
  EXPECT_THAT(refused(), HasSubstr("10-a.conf: name: is missing"));  // T12
  settled("10-a.conf", R"({"cniVersion":"1.0.0","name":"a"})");
  EXPECT_THAT(refused(), HasSubstr("10-a.conf: the plugin.type: is missing"));
}

TEST_F(Input, R1_no_network_yet) {
  EXPECT_THAT(refused(), HasSubstr("no network is configured yet"));
  write("net.d/10-a.conflist.tmp", bridge_list);
  write("net.d/kubeconfig", "{}");
  write("net.d/ca.crt", "x");
  EXPECT_THAT(refused(), HasSubstr("no network is configured yet"));
}

TEST_F(Input, R1_is_waited_for) {
  options.wait = std::chrono::milliseconds(10'000);
  write("net.d/10-kbr.conflist", "{\"cniVersion\":");  // somebody is writing it
  std::thread late([this] {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    write("net.d/10-kbr.conflist", bridge_list);
  });
  settled("20-b.conflist", R"({"name":"b","cniVersion":"1.0.0","plugins":[{"type":"ptp"}]})");
  EXPECT_EQ(installed().state.network, "kbr");
  late.join();
}

TEST_F(Input, R1_what_stays_broken_is_passed_over_and_named) {
  settled("10-broken.conflist", "{");
  settled("20-kbr.conflist", bridge_list);
  const auto report = installed();
  EXPECT_EQ(report.state.primary, "20-kbr.conflist");
  EXPECT_THAT(report.warnings.front(), HasSubstr("10-broken.conflist: is no JSON"));
}

TEST_F(Input, the_first_of_several_or_the_one_that_is_asked_for) {
  settled("10-a.conflist", R"({"name":"a","cniVersion":"1.0.0","plugins":[{"type":"ptp"}]})");
  settled("20-kbr.conflist", bridge_list);
  EXPECT_EQ(installed().state.network, "a");
  options.primary = "20-kbr.conflist";
  settled("10-a.conflist", "{");  // what was chained behind does not matter when another is asked for
  EXPECT_EQ(installed().state.network, "kbr");
  settled("10-a.conflist", R"({"name":"a","cniVersion":"1.0.0","plugins":[{"type":"ptp"}]})");
  EXPECT_THAT(installed().warnings, testing::Contains(HasSubstr("10-a.conflist: sorts before 20-kbr.conflist")));
  options.primary = "30-none.conflist";
  EXPECT_THAT(refused(), HasSubstr("30-none.conflist: there is no such file"));
}

TEST_F(Input, directories_links_and_pipes_among_the_lists) {
  settled("20-kbr.conflist", bridge_list);
  fs::create_directories(root / "net.d/00-cache.conflist");
  fs::create_directories(root / "net.d/whereabouts.d");
  fs::create_symlink("/nowhere", root / "net.d/10-dangling.conflist");
  ASSERT_EQ(::mkfifo((root / "net.d/11-pipe.conflist").c_str(), 0600), 0);
  const auto report = installed();
  EXPECT_EQ(report.state.network, "kbr");
  EXPECT_THAT(report.warnings, testing::Contains(HasSubstr("10-dangling.conflist")));
  EXPECT_THAT(report.warnings, testing::Contains(HasSubstr("11-pipe.conflist: is no regular file")));
}

TEST_F(Input, a_list_behind_a_link_is_read_through_it) {
  write("elsewhere/kbr.json", bridge_list);
  fs::create_symlink(root / "elsewhere/kbr.json", root / "net.d/10-kbr.conflist");
  EXPECT_EQ(installed().state.network, "kbr");
  uninstalled();
  EXPECT_TRUE(fs::is_symlink(root / "net.d/10-kbr.conflist"));
}

TEST_F(Input, a_link_at_the_place_of_our_list_is_replaced_and_not_followed) {
  settled("10-kbr.conflist", bridge_list);
  write("elsewhere/precious", "x");
  fs::create_symlink(root / "elsewhere/precious", root / "net.d/00-podfence.conflist");
  installed();
  EXPECT_FALSE(fs::is_symlink(root / "net.d/00-podfence.conflist"));
  EXPECT_EQ(read("elsewhere/precious"), "x");
}

TEST_F(Input, directories_that_are_not_there) {
  options.conf_dir = root / "none";
  EXPECT_THAT(refused(), AllOf(HasSubstr("--conf-dir"), HasSubstr("none: No such file")));
  options.conf_dir = root / "net.d";
  settled("10-kbr.conflist", bridge_list);
  options.bin_dir = root / "none";
  EXPECT_THAT(refused(), AllOf(HasSubstr("--bin-dir"), HasSubstr("none: No such file")));
  write("file", "");
  options.bin_dir = root / "file";
  EXPECT_THAT(refused(), HasSubstr("file: Not a directory"));
  options.bin_dir = root / "bin";
  options.state_dir = root / "file/x";
  EXPECT_THAT(refused(), HasSubstr("file/x"));
  EXPECT_FALSE(exists("bin/podfence-cni"));
}

TEST_F(Input, a_state_that_is_damaged_is_made_anew) {
  settled("10-kbr.conflist", bridge_list);
  installed();
  write("state/cni-install.json", "{\"sche");
  EXPECT_THAT(installed().warnings.front(), HasSubstr("cni-install.json: is no state"));
  EXPECT_TRUE(installed().warnings.empty());
}

TEST_F(Input, the_file_itself_may_be_the_installed_program) {
  settled("10-kbr.conflist", bridge_list);
  program("bin/podfence-cni", "echo '{\"supportedVersions\":[\"1.0.0\"]}'");
  options.plugin = root / "bin/podfence-cni";
  EXPECT_FALSE(installed().state.binary_is_ours);
  const auto report = uninstalled();
  EXPECT_TRUE(exists("bin/podfence-cni"));
  EXPECT_THAT(report.warnings.front(), HasSubstr("no copy, but the program itself"));
}

TEST_F(Input, R5_without_an_agent_no_first_list_but_every_repair) {
  settled("10-kbr.conflist", bridge_list);
  options.need_agent = true;
  options.entry.socket = root / "agent.sock";
  EXPECT_THAT(refused(), HasSubstr("agent.sock: no agent answers"));
  EXPECT_EQ(names().size(), 1U);
  const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  struct sockaddr_un address {};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, options.entry.socket.c_str(), sizeof(address.sun_path) - 1);
  const void* generic = &address;
  ASSERT_EQ(::bind(fd, static_cast<const struct sockaddr*>(generic), sizeof(address)), 0);
  ASSERT_EQ(::listen(fd, 5), 0);
  const auto serve = [&](const std::string& answer) {
    return std::thread([fd, answer] {
      const int peer = ::accept(fd, nullptr, nullptr);
      char question[64];
      EXPECT_GT(::recv(peer, question, sizeof(question), 0), 0);
      EXPECT_EQ(::send(peer, answer.data(), answer.size(), MSG_NOSIGNAL), static_cast<ssize_t>(answer.size()));
      ::close(peer);
    });
  };
  auto agent = serve("{\"error\":\"has not read all of its source yet\",\"code\":50}\n");
  EXPECT_THAT(refused(), HasSubstr("has not read all of its source yet"));
  agent.join();
  agent = serve("{\"ok\":true}\n");
  installed();
  agent.join();
  ::close(fd);
  fs::remove(root / "net.d/00-podfence.conflist");
  EXPECT_EQ(installed().state.repairs, 1U);
}

}  // namespace
}  // namespace podfence::install::test
