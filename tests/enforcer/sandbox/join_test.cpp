// Conformance: A10 D6 D-11 D-13 X-03 R-01 R-02 R-03.
#include <gtest/gtest.h>

#include <random>

#include "tests/enforcer/sandbox/sandboxes.h"
#include "tests/support/random_world.h"

namespace podfence::test {
namespace {

TEST(Join, a_pod_without_addresses_gets_those_of_its_sandbox) {  // before its status names any
  Plugged p;
  p.upsert(pod("web"));
  EXPECT_EQ(p.addresses_of("web"), "");
  EXPECT_EQ(p.add(plugged("a", "web", {"10.0.0.2", "fd00::2"})), 1U);
  EXPECT_EQ(p.addresses_of("web"), "10.0.0.2 fd00::2");
  EXPECT_EQ(p.owner_of("10.0.0.2"), "web");
}

TEST(Join, the_object_may_come_after_the_sandbox) {
  Plugged p;
  EXPECT_EQ(p.add(plugged("a", "web", {"10.0.0.2"})), 0U);
  EXPECT_EQ(p.join.pod_of(*p.attachments.find({"a", "eth0"})), nullptr);
  p.upsert(pod("web"));
  EXPECT_EQ(p.addresses_of("web"), "10.0.0.2");
  EXPECT_NE(p.join.pod_of(*p.attachments.find({"a", "eth0"})), nullptr);
  p.upsert(pod("web").ip("10.0.0.2"));  // and its status last of all
  EXPECT_EQ(p.addresses_of("web"), "10.0.0.2");
}

TEST(Join, the_same_said_twice_is_nothing_new) {  // A9
  Plugged p;
  p.upsert(pod("web"));
  p.add(plugged("a", "web", {"10.0.0.2"}));
  EXPECT_EQ(p.add(plugged("a", "web", {"10.0.0.2"})), 0U);
  EXPECT_EQ(p.add(plugged("a", "web", {"10.0.0.3"})), 1U);
  EXPECT_EQ(p.addresses_of("web"), "10.0.0.3");
}

TEST(Join, the_uid_decides_where_both_are_known) {
  Plugged p;
  p.upsert(pod("web").uid("new"));
  EXPECT_EQ(p.add(plugged("a", "web", {"10.0.0.2"}, "old")), 0U);
  EXPECT_EQ(p.addresses_of("web"), "");
  p.add(plugged("b", "web", {"10.0.0.3"}, "new"));
  EXPECT_EQ(p.addresses_of("web"), "10.0.0.3");
  p.upsert(pod("db").uid("known"));
  p.add(plugged("c", "db", {"10.0.0.4"}));
  EXPECT_EQ(p.addresses_of("db"), "10.0.0.4") << "the runtime does not say";
  p.upsert(pod("static").uid("0b5d9a3e-62b1-4d3a-9d4e-3a1f8a2c7b10"));
  p.add(plugged("d", "static", {"10.0.0.5"}, "8c5f2b6f1f4a3a4d5e6b7c8d9e0f1a2b"));
  EXPECT_EQ(p.addresses_of("static"), "10.0.0.5") << "of a static pod the kubelet has another uid than the object";
}

TEST(Join, a_removed_sandbox_takes_its_addresses_whatever_the_status_says) {  // D-11
  Plugged p;
  p.upsert(pod("web").ip("10.0.0.2"));
  p.add(plugged("a", "web", {"10.0.0.2"}));
  p.remove("a");
  EXPECT_EQ(p.addresses_of("web"), "");
  EXPECT_EQ(p.owner_of("10.0.0.2"), "");
  p.upsert(pod("web").label("x", "y").ip("10.0.0.2"));
  EXPECT_EQ(p.addresses_of("web"), "") << "a status that lags";
  p.upsert(pod("web"));
  p.upsert(pod("web").ip("10.0.0.2"));
  EXPECT_EQ(p.addresses_of("web"), "10.0.0.2") << "it let go and took again: plugged in by somebody else";
}

TEST(Join, a_late_status_does_not_bring_a_removed_sandbox_back) {  // D-11
  Plugged p;
  p.upsert(pod("web"));
  p.add(plugged("a", "web", {"10.0.0.2"}));
  p.remove("a");
  p.upsert(pod("web").ip("10.0.0.2"));
  EXPECT_EQ(p.addresses_of("web"), "");
  p.upsert(pod("web").uid("another").ip("10.0.0.2"));
  EXPECT_EQ(p.addresses_of("web"), "10.0.0.2") << "another pod of that name";
}

TEST(Join, a_new_sandbox_of_the_pod_replaces_the_old_ones_addresses) {  // A10
  Plugged p;
  p.upsert(pod("web").ip("10.0.0.2"));
  p.add(plugged("old", "web", {"10.0.0.2"}));
  p.add(plugged("new", "web", {"10.0.0.3"}));
  EXPECT_EQ(p.addresses_of("web"), "10.0.0.3");
  EXPECT_EQ(p.remove("old"), 0U) << "a late DEL";
  EXPECT_EQ(p.addresses_of("web"), "10.0.0.3");
  p.upsert(pod("web").ip("10.0.0.2"));
  EXPECT_EQ(p.addresses_of("web"), "10.0.0.3") << "a status that lags";
}

TEST(Join, a_new_sandbox_may_have_the_old_ones_address) {  // A10
  Plugged p;
  p.upsert(pod("web").ip("10.0.0.2"));
  p.add(plugged("old", "web", {"10.0.0.2"}));
  EXPECT_EQ(p.add(plugged("new", "web", {"10.0.0.2"})), 0U);
  EXPECT_EQ(p.remove("old"), 0U);
  EXPECT_EQ(p.addresses_of("web"), "10.0.0.2");
  p.remove("new");
  p.add(plugged("third", "web", {"10.0.0.2"}));
  EXPECT_EQ(p.addresses_of("web"), "10.0.0.2");
}

TEST(Join, an_address_goes_over_to_the_pod_that_is_plugged_in_with_it) {  // D-13, D6, X-03
  Plugged p;
  p.upsert(pod("old").ip("10.0.0.2").created(1));
  p.upsert(pod("new").phase(api::Phase::pending).created(2));
  p.add(plugged("a", "old", {"10.0.0.2"}));
  p.add(plugged("b", "new", {"10.0.0.2"}));  // the DEL of `a` waits in the journal
  EXPECT_EQ(p.owner_of("10.0.0.2"), "new");
  EXPECT_EQ(p.addresses_of("old"), "");
  EXPECT_EQ(p.remove("a"), 0U);
  EXPECT_EQ(p.owner_of("10.0.0.2"), "new");
  EXPECT_EQ(p.attachments.addresses().size(), 1U);
  p.upsert(pod("old").ip("10.0.0.2").label("still", "there").created(1));
  EXPECT_EQ(p.owner_of("10.0.0.2"), "new");
}

TEST(Join, an_address_goes_over_although_the_old_sandbox_was_never_known) {  // D-13
  Plugged p;
  p.upsert(pod("old").ip("10.0.0.2"));
  p.add(plugged("b", "new", {"10.0.0.2"}));
  EXPECT_EQ(p.owner_of("10.0.0.2"), "") << "not the old one's any more";
  p.upsert(pod("new").phase(api::Phase::pending));
  EXPECT_EQ(p.owner_of("10.0.0.2"), "new");
}

TEST(Join, the_earlier_sandbox_has_its_address_again_when_the_later_one_goes) {
  Plugged p;
  p.upsert(pod("old"));
  p.upsert(pod("new"));
  p.add(plugged("a", "old", {"10.0.0.2"}));
  p.add(plugged("b", "new", {"10.0.0.2"}));
  p.remove("b");
  EXPECT_EQ(p.owner_of("10.0.0.2"), "old");
  EXPECT_EQ(p.addresses_of("new"), "");
}

TEST(Join, every_interface_of_a_sandbox_counts) {  // A12
  Plugged p;
  p.upsert(pod("web"));
  p.add(plugged("a", "web", {"10.0.0.2"}));
  auto second = plugged("a", "web", {"10.9.0.2"});
  second.key.ifname = "net1";
  p.add(second);
  EXPECT_EQ(p.addresses_of("web"), "10.0.0.2 10.9.0.2");
  p.remove("a", "net1");
  EXPECT_EQ(p.addresses_of("web"), "10.0.0.2");
}

TEST(Join, the_status_names_addresses_that_were_not_plugged_in_by_us) {
  Plugged p;
  p.upsert(pod("web").ip("10.5.0.2"));
  p.add(plugged("a", "web", {"10.0.0.2"}));
  EXPECT_EQ(p.addresses_of("web"), "10.0.0.2 10.5.0.2");
}

TEST(Join, a_sandbox_that_names_no_pod_is_found_by_its_address) {
  Plugged p;
  p.add(plugged("a", "", {"10.0.0.2"}));
  p.upsert(pod("web").ip("10.0.0.2"));
  EXPECT_EQ(p.owner_of("10.0.0.2"), "web");
  EXPECT_TRUE(p.join.unmanaged().empty());
}

TEST(Join, pods_of_other_nodes_and_of_the_host_network_pass_unchanged) {
  Plugged p;
  p.add(plugged("a", "far", {"10.0.0.2"}));
  p.add(plugged("b", "host", {"10.0.0.3"}));
  p.upsert(pod("far").node("n2").ip("10.2.0.9"));
  p.upsert(pod("host").host_network().ip("192.0.2.1"));
  EXPECT_EQ(p.addresses_of("far"), "10.2.0.9");
  EXPECT_EQ(p.addresses_of("host"), "192.0.2.1");
  EXPECT_TRUE(p.join.unmanaged().empty());
}

TEST(Join, a_late_removal_of_another_pod_of_that_name_is_nothing) {  // D-13
  Plugged p;
  p.upsert(pod("web").uid("new"));
  p.remove_pod("web", "old");
  p.add(plugged("a", "web", {"10.0.0.2"}, "new"));
  EXPECT_EQ(p.addresses_of("web"), "10.0.0.2");
  p.remove_pod("web", "new");
  EXPECT_EQ(p.addresses_of("web"), "-");
  EXPECT_EQ(p.remove("a"), 0U);
}

TEST(Join, tells_which_addresses_pods_have_lost) {
  Plugged p;
  const auto lost = [&] {
    std::string text;
    for (const auto& ip : p.join.take_lost()) text += ip.text() + " ";
    return text;
  };
  p.upsert(pod("web").ip("10.0.0.2"));
  p.upsert(pod("db").ip("10.0.0.3"));
  p.add(plugged("a", "web", {"10.0.0.2"}));
  EXPECT_EQ(lost(), "");
  p.add(plugged("b", "new", {"10.0.0.2"}));
  EXPECT_EQ(lost(), "10.0.0.2 ") << "another sandbox has it";
  p.remove_pod("db");
  EXPECT_EQ(lost(), "10.0.0.3 ") << "its object went";
  p.upsert(pod("db").ip("10.0.0.3"));
  p.upsert(pod("db").ip("10.0.0.4"));
  EXPECT_EQ(lost(), "10.0.0.3 ") << "its status names another";
  p.add(plugged("c", "db", {"10.0.0.4"}));
  p.add(plugged("d", "db", {"10.0.0.4"}));
  p.remove("c");
  EXPECT_EQ(lost(), "") << "its next sandbox has the same";
  p.remove("d");
  EXPECT_EQ(lost(), "10.0.0.4 ");
  EXPECT_EQ(lost(), "");
}

TEST(Join, tells_which_pods_were_plugged_in_by_nobody) {
  Plugged p;
  p.upsert(pod("before").ip("10.0.0.2"));
  p.upsert(pod("starting"));
  p.upsert(pod("over").ip("10.0.0.3").phase(api::Phase::succeeded));
  p.upsert(pod("far").node("n2").ip("10.2.0.2"));
  p.upsert(pod("here").ip("10.0.0.4"));
  p.upsert(pod("renewed").uid("new").ip("10.0.0.5"));
  p.add(plugged("a", "here", {"10.0.0.4"}));
  p.add(plugged("b", "renewed", {"10.0.0.6"}, "old"));
  std::vector<std::string> names;
  for (const auto& u : p.join.unmanaged()) names.push_back(u.pod.second + ": " + u.why);
  ASSERT_EQ(names.size(), 2U);
  EXPECT_NE(names[0].find("before: podfence-cni was not in the chain"), std::string::npos);
  EXPECT_NE(names[1].find("renewed: its name's sandbox is of uid old"), std::string::npos);
}

/// Whatever happened before, a pod's addresses follow from the objects and the attachments alone, but for what is
/// retired: a Join that hears the end state at once agrees on every address that is plugged in.
TEST(Join, any_history_agrees_with_its_end_about_what_is_plugged_in) {  // D-13
  const auto seed = seed_of_run();
  std::cout << "PODFENCE_SEED=" << seed << std::endl;
  Random random(seed);
  const auto pick = [&](std::size_t n) { return random() % n; };
  const auto address = [&] { return "10.0.0." + std::to_string(1 + pick(5)); };
  const auto name = [&] { return "p" + std::to_string(pick(3)); };
  for (int history = 0; history < 300 && !testing::Test::HasFatalFailure(); ++history) {
    Plugged p;
    std::map<std::string, api::Object> objects;
    for (int step = 0; step < 40; ++step) {
      const auto pod_name = name();
      if (pick(3) == 0) {
        auto object = pod(pod_name).uid(pick(2) == 0 ? "u1" : "u2");
        if (pick(2) == 0) object.ip(address());
        objects.insert_or_assign(pod_name, object);
        p.upsert(object);
      } else if (pick(5) == 0) {
        objects.erase(pod_name);
        p.remove_pod(pod_name);
      } else if (pick(2) == 0) {
        p.add(plugged("c" + std::to_string(pick(5)), pod_name, {address(), address()}, pick(2) == 0 ? "u1" : ""));
      } else {
        p.remove("c" + std::to_string(pick(5)));
      }
      Plugged fresh;
      std::map<std::uint64_t, sandbox::Attachment> in_order;
      for (const auto& [key, a] : p.attachments.all()) in_order.emplace(a.sequence, a);
      for (const auto& [sequence, a] : in_order) fresh.add(a);
      for (const auto& [object_name, object] : objects) fresh.upsert(object);
      for (const auto& ip : p.attachments.addresses()) {
        ASSERT_EQ(p.owner_of(ip.text()), fresh.owner_of(ip.text()))
            << ip.text() << ", history " << history << " of PODFENCE_SEED=" << seed;
      }
    }
  }
}

}  // namespace
}  // namespace podfence::test
