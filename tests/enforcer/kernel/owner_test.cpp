// An owned table: alone ours while we live, and there still when we do not. Where the kernel has no owner together with
// persist (before 6.9), asking for it gives a table that works without.
#include <csignal>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/enforcer/kernel/worlds.h"

namespace podfence::kernel {
namespace {

using program::Program;

/// Installs in a process of its own, which is then killed with SIGKILL.
void install_and_be_killed(const Program& program, bool own) {
  const pid_t child = ::fork();
  if (child == 0) {
    auto kernel = NftKernel::open({own});
    if (kernel && (*kernel)->commit(diff::install_of(program))) ::raise(SIGKILL);
    ::_exit(1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status)) << "the install failed";
}

TEST(NftKernel, LeavesItsRulesWhenItIsKilled) {
  const Program program = wide_program(200);
  for (const bool own : {false, true}) {
    EXPECT_TRUE(test::in_new_netns([&] {
      install_and_be_killed(program, own);
      EXPECT_EQ(test::run("nft list chain inet podfence forward").status, 0);
      auto kernel = open_kernel(own);
      ASSERT_TRUE(kernel);
      EXPECT_TRUE(holds(*kernel, program)) << own;
      // And goes on with it: a change, an install, an end.
      const Program next = wide_program(300);
      ASSERT_TRUE(committed(*kernel, diff::changes_between(program, next)));
      ASSERT_TRUE(holds(*kernel, next));
      ASSERT_TRUE(committed(*kernel, diff::install_of(program)));
      EXPECT_TRUE(holds(*kernel, program));
      EXPECT_TRUE(kernel->purge());
      EXPECT_EQ(test::run("nft list tables").output, "");
    })) << (own ? "owned" : "not owned");
  }
}

TEST(NftKernel, OwnedSurvivesAForeignFlush) {
  EXPECT_TRUE(test::in_new_netns([] {
    auto kernel = open_kernel(true);
    ASSERT_TRUE(kernel);
    const Program program = wide_program(200);
    ASSERT_TRUE(committed(*kernel, diff::install_of(program)));
    ASSERT_TRUE(holds(*kernel, program));
    const auto owns = kernel->owns_table();
    ASSERT_TRUE(owns) << owns.error().what();
    if (!*owns) {
      // Before Linux 6.9: no flags at all, never owner alone.
      EXPECT_EQ(test::run("nft list table inet podfence | grep -c flags.*owner").output, "0\n");
      return;
    }
    test::run("nft flush ruleset");
    EXPECT_NE(test::run("nft delete table inet podfence").status, 0);
    EXPECT_NE(test::run("nft add element inet podfence known4 { 10.0.0.1 }").status, 0);
    EXPECT_TRUE(holds(*kernel, program));
    // Who reads may read: a list in both forms.
    EXPECT_EQ(test::run("nft list ruleset >/dev/null").status, 0);
    EXPECT_EQ(test::run("nft -j list ruleset | jq -e .nftables >/dev/null").status, 0);
    // Replacing it keeps it owned.
    ASSERT_TRUE(committed(*kernel, diff::install_of({})));
    EXPECT_TRUE(*kernel->owns_table());

    // A second one of us is told, and harms nothing.
    auto second = open_kernel(true);
    ASSERT_TRUE(second);
    const auto done = second->commit(diff::install_of(program));
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().error.code(), Errc::permission) << done.error().error.what();
    EXPECT_TRUE(holds(*kernel, {}));
  }));
}

TEST(NftKernel, TakesOverWhatADeadOwnerLeft) {
  EXPECT_TRUE(test::in_new_netns([] {
    const Program program = wide_program(200);
    install_and_be_killed(program, true);
    auto kernel = open_kernel(true);
    ASSERT_TRUE(kernel);
    EXPECT_TRUE(holds(*kernel, program));
    if (*kernel->owns_table()) {
      EXPECT_NE(test::run("nft delete table inet podfence").status, 0);
    }
    EXPECT_TRUE(holds(*kernel, program));
  }));
}

}  // namespace
}  // namespace podfence::kernel
