// The other implementations of the port: the printer, and the tests' own.
#include <gtest/gtest.h>

#include <sstream>

#include "enforcer/kernel/print_kernel.h"
#include "policy/program/print.h"
#include "tests/enforcer/kernel/worlds.h"
#include "tests/support/failing_kernel.h"
#include "tests/support/fake_kernel.h"

namespace podfence::kernel {
namespace {

using program::Program;

TEST(PrintKernel, PrintsTheTableOnceAndThenTheChanges) {
  std::ostringstream out;
  PrintKernel kernel(out);
  EXPECT_FALSE(kernel.read()->present);
  EXPECT_FALSE(kernel.commit(diff::changes_between({}, wide_program(2))));
  EXPECT_EQ(out.str(), "");
  ASSERT_TRUE(committed(kernel, diff::install_of(wide_program(2))));
  EXPECT_EQ(out.str(), program::print(wide_program(2)));
  out.str("");
  const auto changes = diff::changes_between(wide_program(2), wide_program(3));
  ASSERT_TRUE(committed(kernel, changes));
  EXPECT_EQ(out.str(), diff::text_of(changes));
  EXPECT_TRUE(holds(kernel, wide_program(3)));
  EXPECT_EQ(kernel.counters()->size(), program::counter_names().size());
}

/// The fake answers as nftables does, on random histories with faults in them.
TEST(FakeKernel, AgreesWithNftables) {
  std::mt19937_64 random(test::test_seed());
  EXPECT_TRUE(test::in_new_netns([&] {
    auto real = open_kernel();
    ASSERT_TRUE(real);
    test::FakeKernel fake;
    for (int round = 0; round < 120; ++round) {
      diff::Changes changes;
      if (round % 20 == 3) {
        changes = diff::install_of(test::random_program(random, 8));
      } else {
        // From a program that is not always the one that stands there.
        const Program now = fake.program().value_or(Program{});
        const Program from = random() % 3 == 0 ? test::random_program(random, 4) : now;
        changes = diff::changes_between(from, test::random_program(random, 8));
      }
      const bool real_took = real->commit(changes).has_value();
      const bool fake_took = fake.commit(changes).has_value();
      ASSERT_EQ(real_took, fake_took) << "round " << round << "\n" << diff::text_of(changes);
      if (fake.program()) {
        ASSERT_TRUE(holds(*real, *fake.program())) << "round " << round;
      }
    }
  }));
}

TEST(FakeKernel, RefusesWhatItIsToldTo) {
  test::FakeKernel kernel;
  const auto program = wide_program(5);
  const program::SetId set{program::Shape::peer_class, net::Direction::ingress, net::Family::ipv4};
  kernel.refuse(set, program.at(set)[3]);
  const auto done = kernel.commit(diff::install_of(program));
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().set, set);
  EXPECT_EQ(done.error().element, program.at(set)[3]);
  EXPECT_FALSE(kernel.read()->present);
  kernel.refuse_nothing();
  EXPECT_TRUE(committed(kernel, diff::install_of(program)));
  kernel.damage("a foreign chain");
  EXPECT_FALSE(kernel.read()->intact);
  EXPECT_TRUE(committed(kernel, diff::install_of(program)));
  EXPECT_TRUE(holds(kernel, program));
}

TEST(FailingKernel, FailsOnce) {
  test::FakeKernel fake;
  test::FailingKernel kernel(fake, 2);
  EXPECT_TRUE(committed(kernel, diff::install_of(wide_program(1))));
  EXPECT_FALSE(kernel.commit(diff::changes_between(wide_program(1), wide_program(2))));
  EXPECT_TRUE(holds(kernel, wide_program(1)));
  EXPECT_TRUE(committed(kernel, diff::changes_between(wide_program(1), wide_program(2))));

  test::FailingKernel late(fake, 1, true);
  EXPECT_FALSE(late.commit(diff::changes_between(wide_program(2), {})));
  EXPECT_TRUE(holds(late, {}));
}

}  // namespace
}  // namespace podfence::kernel
