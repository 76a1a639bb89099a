// The modes in-place and drop-in, and going from one mode to another.
#include "tests/enforcer/install/node.h"

namespace podfence::install::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

RuntimeStatus loaded(std::vector<std::string> types) {
  RuntimeStatus status;
  status.network_ready = true;
  status.networks = {{"cni-loopback", {"loopback"}}, {"kbr", std::move(types)}};
  status.last_load = "OK";
  return status;
}

class InPlace : public Node {
 protected:
  InPlace() { options.mode = Mode::in_place; }
};

TEST_F(InPlace, R10_adds_one_entry_and_gives_back_the_same_bytes) {
  settled("10-kbr.conflist", bridge_list);
  ::chmod((root / "net.d/10-kbr.conflist").c_str(), 0604);
  installed();
  EXPECT_THAT(names(), ElementsAre("10-kbr.conflist"));
  const auto text = read("net.d/10-kbr.conflist");
  EXPECT_THAT(text, HasSubstr("1.50"));
  const auto conf = parse_conf("10-kbr.conflist", text);
  ASSERT_TRUE(conf);
  EXPECT_EQ(conf->plugins.back().mark, (Mark{Mode::in_place, "10-kbr.conflist"}));
  EXPECT_EQ(conf->cni_version, "1.0.0");
  EXPECT_EQ(mode("net.d/10-kbr.conflist"), 0604U);  // R4
  EXPECT_TRUE(installed().done.empty());            // R3
  const auto report = uninstalled();
  EXPECT_EQ(read("net.d/10-kbr.conflist"), bridge_list);
  EXPECT_EQ(mode("net.d/10-kbr.conflist"), 0604U);
  EXPECT_THAT(report.done.front(), HasSubstr("byte for byte as it was"));
  EXPECT_FALSE(exists("state/cni-install.original"));
}

TEST_F(InPlace, R10_what_others_changed_meanwhile_stays) {
  settled("10-kbr.conflist", bridge_list);
  installed();
  auto text = read("net.d/10-kbr.conflist");
  text.replace(text.find("1.50"), 4, "7.77");
  settled("10-kbr.conflist", text);
  const auto report = uninstalled();
  std::string wanted = bridge_list;
  wanted.replace(wanted.find("1.50"), 4, "7.77");
  EXPECT_EQ(read("net.d/10-kbr.conflist"), wanted);
  EXPECT_THAT(report.done.front(), HasSubstr("somebody else has changed it"));
}

TEST_F(InPlace, R10_without_a_backup_and_with_a_damaged_one) {
  for (const bool damaged : {false, true}) {
    settled("10-kbr.conflist", bridge_list);
    installed();
    if (damaged) {
      write("state/cni-install.original", "{}");
    } else {
      fs::remove_all(options.state_dir);
    }
    const auto report = uninstalled();
    EXPECT_EQ(read("net.d/10-kbr.conflist"), bridge_list);
    EXPECT_THAT(report.done.front(), HasSubstr(damaged ? "is not what was saved" : "no backup"));
  }
}

TEST_F(InPlace, the_network_writing_its_file_anew_is_a_repair_with_a_new_backup) {
  settled("10-kbr.conflist", bridge_list);
  installed();
  std::string other = bridge_list;
  other.replace(other.find("1.50"), 4, "2.75");
  settled("10-kbr.conflist", other);
  const auto report = installed();
  EXPECT_EQ(report.state.repairs, 1U);
  EXPECT_THAT(report.state.last_repair, HasSubstr("10-kbr.conflist"));
  EXPECT_THAT(uninstalled().done.front(), HasSubstr("byte for byte"));
  EXPECT_EQ(read("net.d/10-kbr.conflist"), other);
}

TEST_F(InPlace, what_cannot_be_edited_is_refused) {
  settled("10-one.conf", single);
  EXPECT_THAT(refused(), HasSubstr("10-one.conf: is a single plugin"));
  EXPECT_EQ(read("net.d/10-one.conf"), single);
  settled("05-real.conflist.bak", bridge_list);
  fs::create_symlink("05-real.conflist.bak", root / "net.d/05-link.conflist");
  EXPECT_THAT(refused(), HasSubstr("05-link.conflist: is a symbolic link"));
  EXPECT_FALSE(exists("bin/podfence-cni"));
}

TEST_F(InPlace, an_entry_by_hand_is_left_as_it_is) {
  const std::string hand =
      R"({"cniVersion":"1.0.0","name":"h","plugins":[{"type":"ptp"},{"type":"podfence-cni","socket":"/x"}]})";
  settled("10-h.conflist", hand);
  const auto report = installed();
  EXPECT_THAT(report.warnings.front(), HasSubstr("put in by hand"));
  EXPECT_EQ(read("net.d/10-h.conflist"), hand);
  EXPECT_TRUE(exists("bin/podfence-cni"));
  uninstalled();
  EXPECT_EQ(read("net.d/10-h.conflist"), hand);
  EXPECT_TRUE(exists("bin/podfence-cni"));
}

class DropIn : public Node {
 protected:
  DropIn() {
    options.mode = Mode::drop_in;
    settled("10-kbr.conflist", bridge_list);
  }
};

TEST_F(DropIn, a_file_below_the_name_of_the_network) {
  runtime.after = loaded({"bridge", "portmap", "podfence-cni"});
  const auto report = installed();
  EXPECT_EQ(report.verdict.text, "loaded by fake");
  EXPECT_EQ(names("net.d/kbr"), std::vector<std::string>{"zz-podfence.conf"});
  EXPECT_EQ(read("net.d/10-kbr.conflist"), bridge_list);
  EXPECT_TRUE(installed().done.empty());
  runtime.after = loaded({"bridge", "portmap"});
  uninstalled();
  EXPECT_THAT(names(), ElementsAre("10-kbr.conflist"));
}

TEST_F(DropIn, other_drop_ins_stay) {
  write("net.d/kbr/10-tuning.conf", R"({"type":"tuning"})");
  write("net.d/kbr/zz-podfence.conf.bak", "x");
  runtime.after = loaded({"bridge", "portmap", "tuning", "podfence-cni"});
  installed();
  runtime.after = loaded({"bridge", "portmap", "tuning"});
  uninstalled();
  EXPECT_EQ(names("net.d/kbr"), (std::vector<std::string>{"10-tuning.conf", "zz-podfence.conf.bak"}));
}

TEST_F(DropIn, a_runtime_that_does_not_read_it_or_does_not_say_is_refused) {
  runtime.after = loaded({"bridge", "portmap"});
  EXPECT_THAT(refused(), HasSubstr("drop-ins need libcni 1.3"));
  EXPECT_THAT(names(), ElementsAre("10-kbr.conflist"));
  runtime.after = fail(Errc::not_found, "no CRI socket");
  EXPECT_THAT(refused(), HasSubstr("--unverified"));
  EXPECT_THAT(names(), ElementsAre("10-kbr.conflist"));
  options.unverified = true;
  installed();
  EXPECT_TRUE(exists("net.d/kbr/zz-podfence.conf"));
}

TEST_F(DropIn, another_mode_stays_until_the_runtime_has_shown_that_it_reads_drop_ins) {
  options.mode = Mode::own;
  installed();
  options.mode = Mode::drop_in;
  runtime.after = loaded({"bridge", "portmap", "podfence-cni"});  // the one of our own list
  EXPECT_THAT(refused(), HasSubstr("drop-ins need"));
  EXPECT_THAT(names(), ElementsAre("00-podfence.conflist", "10-kbr.conflist"));
  EXPECT_EQ(StateFiles(options.state_dir).load().mode, Mode::own);
  runtime.after = loaded({"bridge", "portmap", "podfence-cni", "podfence-cni"});
  installed();
  EXPECT_THAT(names(), ElementsAre("10-kbr.conflist", "kbr"));
}

TEST_F(DropIn, lists_that_read_none_are_refused) {
  std::string text = bridge_list;
  text.insert(1, "\"loadOnlyInlinedPlugins\":true,");
  settled("10-kbr.conflist", text);
  EXPECT_THAT(refused(), HasSubstr("loadOnlyInlinedPlugins"));
  settled("05-one.conf", single);
  EXPECT_THAT(refused(), HasSubstr("05-one.conf: is a single plugin"));
}

TEST_F(DropIn, a_new_name_of_the_network_moves_it) {
  options.unverified = true;
  installed();
  std::string text = bridge_list;
  text.replace(text.find("kbr"), 3, "new");
  settled("10-kbr.conflist", text);
  installed();
  EXPECT_THAT(names(), ElementsAre("10-kbr.conflist", "new"));
}

class Switching : public Node {};

TEST_F(Switching, from_any_mode_to_any_other_and_away) {
  options.unverified = true;
  settled("10-kbr.conflist", bridge_list);
  for (const Mode first : {Mode::own, Mode::in_place, Mode::drop_in}) {
    for (const Mode second : {Mode::own, Mode::in_place, Mode::drop_in}) {
      options.mode = first;
      installed();
      options.mode = second;
      installed();
      EXPECT_EQ(exists("net.d/00-podfence.conflist"), second == Mode::own);
      EXPECT_EQ(exists("net.d/kbr"), second == Mode::drop_in);
      EXPECT_EQ(read("net.d/10-kbr.conflist") != bridge_list, second == Mode::in_place);
      uninstalled();
      EXPECT_THAT(names(), ElementsAre("10-kbr.conflist"));
      EXPECT_EQ(read("net.d/10-kbr.conflist"), bridge_list);
    }
  }
}

}  // namespace
}  // namespace podfence::install::test
