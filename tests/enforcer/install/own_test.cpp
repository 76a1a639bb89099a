// Mode own. The rows R1 to R10 are the rules for installers, in the order in which cni/README.md lists them.
#include <unistd.h>

#include <thread>

#include "enforcer/install/binary.h"
#include "tests/enforcer/install/node.h"

namespace podfence::install::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class Own : public Node {};

TEST_F(Own, R2_a_list_that_sorts_first_with_the_same_name_and_version) {
  settled("10-kbr.conflist", bridge_list);
  settled("20-other.conflist", bridge_list);
  const auto report = installed();
  EXPECT_EQ(report.state.condition, Condition::installed);
  EXPECT_THAT(names(), ElementsAre("00-podfence.conflist", "10-kbr.conflist", "20-other.conflist"));
  const auto ours = parse_conf("00-podfence.conflist", read("net.d/00-podfence.conflist"));
  ASSERT_TRUE(ours);
  EXPECT_EQ(ours->network, "kbr");
  EXPECT_EQ(ours->cni_version, "1.0.0");  // V3: never raised, though the plugin speaks 1.1.0
  ASSERT_EQ(ours->plugins.size(), 3U);
  EXPECT_EQ(ours->plugins[2].mark, (Mark{Mode::own, "10-kbr.conflist"}));
  EXPECT_EQ(unchained(*ours), bridge_list);
  EXPECT_EQ(read("net.d/10-kbr.conflist"), bridge_list);
  EXPECT_EQ(read("bin/podfence-cni"), read("src/podfence-cni"));
}

TEST_F(Own, R3_a_second_run_writes_nothing) {
  settled("10-kbr.conflist", bridge_list);
  installed();
  const auto inode = [&](const std::string& name) {
    struct stat info {};
    EXPECT_EQ(::stat((root / name).c_str(), &info), 0);
    return info.st_ino;
  };
  const auto list = inode("net.d/00-podfence.conflist");
  const auto program = inode("bin/podfence-cni");
  const auto state = inode("state/cni-install.json");
  EXPECT_TRUE(installed().done.empty());
  EXPECT_EQ(inode("net.d/00-podfence.conflist"), list);
  EXPECT_EQ(inode("bin/podfence-cni"), program);
  EXPECT_EQ(inode("state/cni-install.json"), state);
}

TEST_F(Own, R4_a_new_file_is_private_and_a_replaced_one_keeps_its_mode) {
  settled("10-kbr.conflist", bridge_list);
  installed();
  EXPECT_EQ(mode("net.d/00-podfence.conflist"), 0600U);
  EXPECT_EQ(mode("state/cni-install.json"), 0600U);
  EXPECT_EQ(mode("bin/podfence-cni"), 0755U);
  ::chmod((root / "net.d/00-podfence.conflist").c_str(), 0640);
  options.entry.deadline_seconds = 20;
  installed();
  EXPECT_EQ(mode("net.d/00-podfence.conflist"), 0640U);
  EXPECT_THAT(read("net.d/00-podfence.conflist"), HasSubstr("\"deadlineSeconds\":20"));
}

TEST_F(Own, R4_leftovers_of_a_killed_installer_go) {
  settled("10-kbr.conflist", bridge_list);
  write("net.d/.podfence-00-podfence.conflist.tmp", "{\"cni");
  write("bin/.podfence-podfence-cni.tmp", "half");
  installed();
  EXPECT_THAT(names(), ElementsAre("00-podfence.conflist", "10-kbr.conflist"));
  EXPECT_FALSE(exists("bin/.podfence-podfence-cni.tmp"));
}

TEST_F(Own, R2_follows_the_network_and_keeps_ours_when_it_is_gone) {
  settled("10-kbr.conflist", bridge_list);
  installed();
  std::string other = bridge_list;
  other.replace(other.find("1.50"), 4, "2.75");
  settled("10-kbr.conflist", other);
  auto report = installed();
  EXPECT_EQ(report.state.updates, 1U);
  EXPECT_EQ(report.state.repairs, 0U);
  const auto kept = read("net.d/00-podfence.conflist");
  EXPECT_THAT(kept, HasSubstr("2.75"));
  fs::remove(root / "net.d/10-kbr.conflist");
  EXPECT_THAT(refused(), HasSubstr("no network is configured"));
  EXPECT_EQ(read("net.d/00-podfence.conflist"), kept);
}

TEST_F(Own, R1_a_network_that_is_broken_for_a_while_is_not_replaced_by_another) {
  settled("10-kbr.conflist", bridge_list);
  installed();
  const auto kept = read("net.d/00-podfence.conflist");
  settled("20-podman.conflist", bridge_list);
  settled("10-kbr.conflist", "{\"name\":");
  EXPECT_THAT(refused(), HasSubstr("10-kbr.conflist: is no JSON"));
  EXPECT_EQ(read("net.d/00-podfence.conflist"), kept);
}

TEST_F(Own, what_somebody_removed_or_changed_is_a_repair) {
  settled("10-kbr.conflist", bridge_list);
  installed();
  fs::remove(root / "net.d/00-podfence.conflist");
  EXPECT_EQ(installed().state.repairs, 1U);
  write("net.d/00-podfence.conflist", "torn{");
  EXPECT_EQ(installed().state.repairs, 2U);
  fs::remove(root / "bin/podfence-cni");
  const auto report = installed();
  EXPECT_EQ(report.state.repairs, 3U);
  EXPECT_THAT(report.state.last_repair, HasSubstr("bin/podfence-cni"));
  EXPECT_EQ(StateFiles(options.state_dir).load().repairs, 3U);
}

TEST_F(Own, R9_a_single_plugin_becomes_a_list_and_stays_itself) {
  settled("10-one.conf", single);
  installed();
  EXPECT_EQ(read("net.d/10-one.conf"), single);
  const auto text = read("net.d/00-podfence.conflist");
  const auto ours = parse_conf("00-podfence.conflist", text);
  ASSERT_TRUE(ours) << text;
  EXPECT_EQ(ours->network, "one");
  EXPECT_EQ(ours->cni_version, "0.3.1");
  EXPECT_EQ(ours->plugins.size(), 2U);
  EXPECT_THAT(text, HasSubstr(std::string(single).substr(0, std::string(single).size() - 1)));
}

TEST_F(Own, R9_sorts_before_whatever_comes) {
  for (const char* name : {"00-multus.conf", "00-a.conflist", "00--.conflist", "0-x.json", "0", "00-podfence.conf"}) {
    fs::remove_all(root / "net.d");
    fs::create_directory(root / "net.d");
    settled("10-kbr.conflist", bridge_list);
    installed();
    settled(is_conf_name(name) ? name : "00.conflist",
            is_conf_name(name) && std::string(name).find("conflist") == std::string::npos ? single : bridge_list);
    installed();
    EXPECT_THAT(names().front(), testing::EndsWith("podfence.conflist")) << name;
    EXPECT_EQ(names().size(), 3U) << name;
  }
  settled("!first.conflist", bridge_list);
  EXPECT_THAT(refused(), HasSubstr("!first.conflist: sorts before"));
}

TEST_F(Own, R10_uninstalling_leaves_what_was_there) {
  settled("10-kbr.conflist", bridge_list);
  const auto programs = names("bin");
  installed();
  const auto report = uninstalled();
  EXPECT_THAT(names(), ElementsAre("10-kbr.conflist"));
  EXPECT_EQ(read("net.d/10-kbr.conflist"), bridge_list);
  EXPECT_EQ(names("bin"), programs);
  EXPECT_EQ(report.state.condition, Condition::removed);
  EXPECT_TRUE(uninstalled().done.empty());
  installed();
  EXPECT_TRUE(exists("net.d/00-podfence.conflist"));
}

TEST_F(Own, R10_uninstalling_needs_no_state) {
  settled("10-kbr.conflist", bridge_list);
  installed();
  fs::remove_all(options.state_dir);
  uninstalled();
  EXPECT_THAT(names(), ElementsAre("10-kbr.conflist"));
  EXPECT_FALSE(exists("bin/podfence-cni"));
}

TEST_F(Own, R5_the_program_stays_while_sandboxes_need_it) {
  settled("10-kbr.conflist", bridge_list);
  installed();
  attachments = std::size_t{2};
  auto report = uninstalled(false);
  ASSERT_EQ(report.warnings.size(), 1U);
  EXPECT_THAT(report.warnings[0], HasSubstr("2 sandboxes"));
  EXPECT_TRUE(exists("bin/podfence-cni"));
  EXPECT_FALSE(exists("net.d/00-podfence.conflist"));
  attachments = fail(Errc::io, "the cache cannot be read");
  EXPECT_THAT(uninstalled(false).warnings[0], HasSubstr("cannot be read"));
  attachments = std::size_t{0};
  uninstalled(false);
  EXPECT_FALSE(exists("bin/podfence-cni"));
}

TEST_F(Own, R5_a_list_by_hand_keeps_the_program) {
  settled("10-kbr.conflist", bridge_list);
  settled("20-hand.conflist",
          R"({"cniVersion":"1.0.0","name":"h","plugins":[{"type":"ptp"},{"type":"podfence-cni"}]})");
  installed();
  const auto report = uninstalled();
  EXPECT_TRUE(exists("bin/podfence-cni"));
  EXPECT_THAT(report.warnings.front(), HasSubstr("20-hand.conflist names it"));
}

TEST_F(Own, R5_a_program_that_does_not_work_is_refused_and_the_old_one_stays) {
  settled("10-kbr.conflist", bridge_list);
  installed();
  const auto old = read("bin/podfence-cni");
  for (const char* script : {"exit 1", "echo nonsense", "echo '{\"supportedVersions\":[]}'", "kill -9 $$"}) {
    program("src/podfence-cni", script);
    EXPECT_THAT(refused(), HasSubstr("src/podfence-cni")) << script;
    EXPECT_EQ(read("bin/podfence-cni"), old);
  }
  write("src/podfence-cni", "");
  EXPECT_THAT(refused(), HasSubstr("src/podfence-cni"));
  fs::remove(root / "src/podfence-cni");
  EXPECT_THAT(refused(), HasSubstr("src/podfence-cni"));
}

TEST_F(Own, upgrade_and_downgrade_replace_the_program) {
  settled("10-kbr.conflist", bridge_list);
  installed();
  const auto first = read("bin/podfence-cni");
  plugin("0.4.0\",\"1.0.0\",\"1.1.0\",\"2.0.0");
  options.version = "2";
  auto report = installed();
  EXPECT_EQ(report.state.repairs, 0U);
  EXPECT_EQ(report.state.version, "2");
  EXPECT_EQ(read("bin/podfence-cni"), read("src/podfence-cni"));
  plugin("0.2.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0");
  options.version = "1";
  installed();
  EXPECT_EQ(read("bin/podfence-cni"), first);
}

TEST_F(Own, V3_a_program_that_does_not_speak_the_list_is_refused) {
  settled("10-kbr.conflist", bridge_list);
  installed();
  const auto old = read("bin/podfence-cni");
  plugin("0.3.1\",\"0.4.0");
  EXPECT_THAT(refused(), HasSubstr("10-kbr.conflist: cniVersion: is 1.0.0"));
  EXPECT_EQ(read("bin/podfence-cni"), old);
}

TEST_F(Own, two_installers_work_one_after_the_other) {
  settled("10-kbr.conflist", bridge_list);
  options.wait = std::chrono::milliseconds(10'000);
  std::vector<std::thread> installers;
  for (int i = 0; i < 8; ++i) {
    installers.emplace_back([this] {
      FakeRuntime nobody;
      for (int round = 0; round < 5; ++round) {
        const auto report = install(options, nobody);
        EXPECT_TRUE(report) << report.error().what();
      }
    });
  }
  for (auto& installer : installers) installer.join();
  EXPECT_THAT(names(), ElementsAre("00-podfence.conflist", "10-kbr.conflist"));
  const auto dir = Directory::open(options.conf_dir);
  const auto held = dir->lock(std::chrono::milliseconds(0));
  ASSERT_TRUE(held);
  options.wait = std::chrono::milliseconds(50);
  EXPECT_THAT(refused(), HasSubstr("another installer is at work"));
}

}  // namespace
}  // namespace podfence::install::test
