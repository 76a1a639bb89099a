// Under which number denied packets of a pod are counted, and which policies that number stands for.
#include "policy/compile/policy_set.h"

#include <gtest/gtest.h>

#include <set>

#include "policy/compile/compiler.h"
#include "tests/support/builders.h"

namespace podfence::compile {
namespace {

using net::Direction;
using program::Shape;
using test::events_of;
using test::ns;
using test::pod;
using test::policy;
using test::rule;

Compiler compiler_of(std::vector<api::Object> objects) {
  Settings settings;
  settings.node = "n1";
  Compiler compiler(settings);
  compiler.apply(events_of(std::move(objects)));
  return compiler;
}

/// "10.0.0.1=web/p,web/q" for every address, as the kernel's maps and the compiler's sets say together.
std::set<std::string> counted(const Compiler& compiler, Direction direction) {
  std::set<std::string> lines;
  const auto sets = compiler.policy_sets();
  const auto program = compiler.program();
  for (const auto family : net::families) {
    for (const auto& element : program.at({Shape::policies, direction, family})) {
      std::string line = element.address.text() + "=";
      for (const auto& name : sets.at({direction, element.class_id})) line += name.first + "/" + name.second + ",";
      lines.insert(line);
    }
  }
  return lines;
}

TEST(PolicySet, of_a_pod_are_the_policies_that_isolate_it_in_that_direction) {  // I-02, I-04
  const auto compiler =
      compiler_of({ns("default"), pod("a").label("app", "a").ip("10.0.0.1").ip("fd00::1"), pod("b").ip("10.0.0.2"),
                   pod("far").node("n2").ip("10.0.0.3"), policy("all").deny_ingress(),
                   policy("only-a").selects({{"app", "a"}}).deny_egress(),
                   policy("web").selects({{"app", "a"}}).ingress(rule().port(80))});
  EXPECT_EQ(counted(compiler, Direction::ingress),
            (std::set<std::string>{"10.0.0.1=default/all,default/web,", "10.0.0.2=default/all,",
                                   "fd00::1=default/all,default/web,"}));
  EXPECT_EQ(counted(compiler, Direction::egress),
            (std::set<std::string>{"10.0.0.1=default/only-a,", "fd00::1=default/only-a,"}));
}

TEST(PolicySet, a_pod_that_no_policy_isolates_has_no_number) {  // I-01
  const auto compiler = compiler_of({pod("a").ip("10.0.0.1")});
  EXPECT_TRUE(compiler.policy_sets().empty());
  EXPECT_TRUE(counted(compiler, Direction::ingress).empty());
}

TEST(PolicySet, is_written_in_the_commit_that_changes_the_policies) {
  auto compiler = compiler_of({ns("default"), pod("a").ip("10.0.0.1"), policy("p").deny_ingress()});
  const program::SetId set{Shape::policies, Direction::ingress, net::Family::ipv4};
  const auto one = number_of({{"default", "p"}});
  const auto two = number_of({{"default", "p"}, {"default", "q"}});
  const auto version = compiler.policy_sets_version();

  auto changes = compiler.apply(events_of({policy("q").ingress(rule().port(80))}));
  ASSERT_EQ(changes.sets.count(set), 1U);
  EXPECT_EQ(changes.sets[set].removed.at(0).class_id, one);
  EXPECT_EQ(changes.sets[set].added.at(0).class_id, two);
  EXPECT_NE(compiler.policy_sets_version(), version);

  const store::Event gone = store::Remove{{api::Kind::network_policy, "default", "q"}, ""};
  changes = compiler.apply({gone});
  EXPECT_EQ(changes.sets[set].added.at(0).class_id, one);
}

TEST(PolicySet, what_policies_admit_does_not_matter) {
  auto compiler = compiler_of({ns("default"), pod("a").ip("10.0.0.1"), policy("p").ingress(rule().port(80))});
  const auto changes = compiler.apply(events_of({policy("p").ingress(rule().port(81))}));
  for (const auto& [set, change] : changes.sets) EXPECT_NE(set.shape, Shape::policies);
}

TEST(PolicySet, has_the_same_number_wherever_the_same_policies_are) {
  EXPECT_EQ(number_of({}), program::no_class);
  EXPECT_EQ(number_of({{"ab", "c"}}), number_of({{"ab", "c"}}));
  EXPECT_NE(number_of({{"ab", "c"}}), number_of({{"a", "bc"}}));
  EXPECT_NE(number_of({{"a", "b"}}), number_of({{"a", "b"}, {"a", "c"}}));
  // Of a kernel that an older agent filled: never another number for the same names.
  EXPECT_EQ(program::text_of({Shape::policies, Direction::ingress, net::Family::ipv4},
                             {*net::IpAddr::parse("10.0.0.1"), {}, number_of({{"shop", "default-deny"}}), {}, {}}),
            "10.0.0.1 : ab2:69a8");
}

TEST(PolicySet, numbers_are_no_tos_and_seldom_the_same) {
  std::set<program::ClassId> numbers;
  for (int i = 0; i < 10'000; ++i) {
    const auto number = number_of({{"namespace-" + std::to_string(i % 100), "policy-" + std::to_string(i)}});
    EXPECT_GE(number, program::first_class);
    numbers.insert(number);
  }
  EXPECT_GE(numbers.size(), 9'998U);
}

}  // namespace
}  // namespace podfence::compile
