// Class numbers are only names: they are kept so that the least has to be written.
#include <gtest/gtest.h>

#include "policy/compile/compiler.h"
#include "tests/support/builders.h"

namespace podfence::compile {
namespace {

using test::events_of;
using test::ns;
using test::pod;
using test::policy;
using test::rule;

Settings settings() {
  Settings s;
  s.node = "n1";
  return s;
}

/// But for the sets of policies, which are in policy_set_test.cpp.
std::string text_but_sets(diff::Changes changes) {
  std::erase_if(changes.sets, [](const auto& entry) { return entry.first.shape == program::Shape::policies; });
  return diff::text_of(changes);
}

std::string change(Compiler& compiler, std::vector<api::Object> objects) {
  return text_but_sets(compiler.apply(events_of(std::move(objects))));
}

std::string remove(Compiler& compiler, api::Kind kind, const std::string& name) {
  const store::Event gone = store::Remove{{kind, "default", name}, ""};
  return text_but_sets(compiler.apply({gone}));
}

api::Object client(int i, const char* app) {
  return pod("c" + std::to_string(i)).node("n2").label("app", app).ip("10.0.1." + std::to_string(i));
}

/// web on this node admits app=a to port 80; three pods a on another node.
Compiler three_clients() {
  Compiler compiler(settings());
  change(compiler,
         {ns("default"), pod("web").label("app", "web").ip("10.0.0.1"), client(1, "a"), client(2, "a"), client(3, "a"),
          policy("p").selects({{"app", "web"}}).ingress(rule().pods({{"app", "a"}}).port(80))});
  return compiler;
}

TEST(ClassNumbers, a_replica_is_one_element) {
  Compiler compiler = three_clients();
  EXPECT_EQ(change(compiler, {client(4, "a")}), "add in_peer4 { 10.0.1.4 : 1:0 }\n");
  EXPECT_EQ(remove(compiler, api::Kind::pod, "c4"), "remove in_peer4 { 10.0.1.4 : 1:0 }\n");
}

TEST(ClassNumbers, a_policy_along_the_borders_of_classes_writes_only_its_own_tuples) {  // U-06
  Compiler compiler = three_clients();
  const auto second =
      policy("q")
          .selects({{"app", "web"}})
          .ingress(rule()
                       .pods(test::labels({{"kubernetes.io/metadata.name", "default"}}),
                             test::expressions({test::requirement("app", api::Operator::in, {"a", "z"})}))
                       .port(81));
  EXPECT_EQ(change(compiler, {second}), "add in_port4 { 1:0 . 10.0.0.1 . tcp . 81 }\n");
  EXPECT_EQ(remove(compiler, api::Kind::network_policy, "q"), "remove in_port4 { 1:0 . 10.0.0.1 . tcp . 81 }\n");
}

TEST(ClassNumbers, the_same_peer_again_writes_nothing_about_peers) {
  Compiler compiler = three_clients();
  const auto same = policy("q").selects({{"app", "web"}}).ingress(rule().pods({{"app", "a"}}).port(80));
  EXPECT_EQ(change(compiler, {same}), "");
  EXPECT_EQ(remove(compiler, api::Kind::network_policy, "p"), "");  // U-06: the other still admits it
}

TEST(ClassNumbers, of_a_class_that_splits_the_larger_part_keeps_the_number) {
  Compiler compiler = three_clients();
  EXPECT_EQ(change(compiler, {policy("q").selects({{"app", "web"}}).ingress(rule().block("10.0.1.3/32").port(81))}),
            "add in_cidr4 { 10.0.1.3 : 1:2 }\n"
            "remove in_peer4 { 10.0.1.3 : 1:0 }\n"
            "add in_peer4 { 10.0.1.3 : 1:1 }\n"
            "add in_port4 { 1:1 . 10.0.0.1 . tcp . 80 }\n"
            "add in_port4 { 1:1 . 10.0.0.1 . tcp . 81 }\n"
            "add in_port4 { 1:2 . 10.0.0.1 . tcp . 81 }\n");
  EXPECT_EQ(remove(compiler, api::Kind::network_policy, "q"),
            "remove in_cidr4 { 10.0.1.3 : 1:2 }\n"
            "remove in_peer4 { 10.0.1.3 : 1:1 }\n"
            "add in_peer4 { 10.0.1.3 : 1:0 }\n"
            "remove in_port4 { 1:1 . 10.0.0.1 . tcp . 80 }\n"
            "remove in_port4 { 1:1 . 10.0.0.1 . tcp . 81 }\n"
            "remove in_port4 { 1:2 . 10.0.0.1 . tcp . 81 }\n");
}

TEST(ClassNumbers, a_class_keeps_its_number_when_most_of_it_moves) {
  Compiler compiler = three_clients();
  // Two of three change their label in one batch, to one that another peer names.
  change(compiler, {policy("q").selects({{"app", "web"}}).ingress(rule().pods({{"app", "b"}}).port(81))});
  EXPECT_EQ(change(compiler, {client(1, "b"), client(2, "b")}),
            "remove in_peer4 { 10.0.1.3 : 1:0 }\n"
            "add in_peer4 { 10.0.1.3 : 1:1 }\n"
            "remove in_port4 { 1:0 . 10.0.0.1 . tcp . 80 }\n"
            "add in_port4 { 1:0 . 10.0.0.1 . tcp . 81 }\n"
            "add in_port4 { 1:1 . 10.0.0.1 . tcp . 80 }\n");
}

TEST(ClassNumbers, irrelevant_changes_of_a_pod_change_nothing) {  // D-25
  Compiler compiler = three_clients();
  api::Pod same = pod("c1").node("n2").label("app", "a").ip("10.0.1.1").object();
  same.meta.generation = 7;
  same.workload = "other";
  same.meta.labels.edit().emplace_back("zone", "west");
  EXPECT_EQ(change(compiler, {same}), "");
}

TEST(ClassNumbers, a_batch_that_undoes_itself_changes_nothing) {  // D-22
  Compiler compiler = three_clients();
  EXPECT_EQ(change(compiler, {client(1, "b"), client(4, "a"), client(1, "a"), pod("c4").node("n2")}), "");
}

TEST(ClassNumbers, the_first_batch_is_plain_additions) {
  Compiler compiler(settings());
  const diff::Changes changes = compiler.apply(events_of({pod("a").ip("10.0.0.1"), policy("p").deny_ingress()}));
  EXPECT_FALSE(changes.install);
  for (const auto& [set, change] : changes.sets) EXPECT_TRUE(change.removed.empty());
  EXPECT_EQ(changes.operations(), 4U);  // isolated, policies, self, known
}

TEST(ClassNumbers, numbers_of_a_kernel_are_adopted_by_majority) {
  const Compiler before = three_clients();
  program::Program kernel = before.program();
  auto& peers = kernel.at({program::Shape::peer_class, net::Direction::ingress, net::Family::ipv4});
  ASSERT_EQ(peers.size(), 3U);
  for (auto& element : peers) element.class_id = program::first_class + 500;
  peers[1].class_id = program::first_class;  // a minority
  peers[2].class_id = 7;                     // and one that no class may have
  peers[2].address = test::ip("10.0.1.9");
  Compiler after = three_clients();
  change(after, {client(4, "a")});
  peers[2].address = test::ip("10.0.1.4");
  peers[2].class_id = program::first_class + 500;
  EXPECT_EQ(after.adopt_classes(kernel), 1U);
  const program::Program program = after.program();
  for (const auto& element : program.at({program::Shape::peer_class, net::Direction::ingress, net::Family::ipv4})) {
    EXPECT_EQ(element.class_id, program::first_class + 500);
  }
  EXPECT_EQ(canonical(program), compile(after.cluster(), after.settings()));
}

}  // namespace
}  // namespace podfence::compile
