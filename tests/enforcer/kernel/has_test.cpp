// Asking for single elements, as the plugin's CHECK does: the answers are those of the program that stands there.
#include <gtest/gtest.h>

#include <fstream>

#include "enforcer/kernel/closure.h"
#include "tests/enforcer/kernel/worlds.h"
#include "tests/support/fake_kernel.h"

namespace podfence::kernel {
namespace {

using program::Program;
using program::Shape;

TEST(Has, EveryElementOfARandomProgramAndNoOther) {  // C3
  std::mt19937_64 random(test::test_seed());
  EXPECT_TRUE(test::in_new_netns([&] {
    auto real = open_kernel();
    ASSERT_TRUE(real);
    const auto before = real->has({Shape::known, net::Direction::ingress, net::Family::ipv4}, {});
    ASSERT_TRUE(before) << before.error().what();
    EXPECT_FALSE(*before) << "there is no table";
    for (int round = 0; round < 20; ++round) {
      const Program program = test::random_program(random, 12);
      const Program other = test::random_program(random, 12);
      test::FakeKernel fake;
      ASSERT_TRUE(committed(*real, diff::install_of(program)));
      ASSERT_TRUE(committed(fake, diff::install_of(program)));
      for (std::size_t i = 0; i < program::set_count; ++i) {
        const auto set = program::set_at(i);
        for (const auto* elements : {&program.at(set), &other.at(set)}) {
          for (const auto& element : *elements) {
            const auto there = real->has(set, element);
            ASSERT_TRUE(there) << there.error().what();
            if (has_port(set.shape) && is_interval(set.shape) && elements == &other.at(set)) continue;  // may be nearer
            ASSERT_EQ(*there, *fake.has(set, element)) << name_of(set) << " " << text_of(set, element);
          }
        }
      }
    }
  }));
}

TEST(Has, AnAddressInAManagedRange) {
  EXPECT_TRUE(test::in_new_netns([&] {
    auto real = open_kernel();
    ASSERT_TRUE(real);
    Program program;
    const program::SetId managed{Shape::managed, net::Direction::ingress, net::Family::ipv4};
    program::Element range;
    range.address = "10.1.0.0"_ip;
    range.address_last = "10.1.0.255"_ip;
    program::Element to_the_end;
    to_the_end.address = "255.255.255.0"_ip;
    to_the_end.address_last = "255.255.255.255"_ip;
    program.at(managed) = {range, to_the_end};
    ASSERT_TRUE(committed(*real, diff::install_of(program)));
    for (const auto& [address, expected] : std::vector<std::pair<net::IpAddr, bool>>{{"10.0.255.255"_ip, false},
                                                                                     {"10.1.0.0"_ip, true},
                                                                                     {"10.1.0.77"_ip, true},
                                                                                     {"10.1.0.255"_ip, true},
                                                                                     {"10.1.1.0"_ip, false},
                                                                                     {"200.0.0.1"_ip, false},
                                                                                     {"255.255.255.7"_ip, true},
                                                                                     {"255.255.255.255"_ip, true}}) {
      program::Element element;
      element.address = address;
      const auto there = real->has(managed, element);
      ASSERT_TRUE(there) << there.error().what();
      EXPECT_EQ(*there, expected) << address.text();
    }
  }));
}

TEST(Closure, OneThatIsNotThereIsLifted) {
  EXPECT_TRUE(test::in_new_netns([&] {
    const auto lifted = lift_closure("nowhere");
    EXPECT_TRUE(lifted) << lifted.error().what();
  }));
}

}  // namespace
}  // namespace podfence::kernel
