#pragma once
// Runs a piece of a test inside a network namespace of its own, so that nothing it does to nftables, links or addresses
// touches the machine. Call it before the test has started threads: the body runs in a forked child.
//
//   TEST(Nft, TakesOurText) {
//     EXPECT_TRUE(in_new_netns([] { EXPECT_EQ(run("nft list ruleset").status, 0); }));
//   }
#include <gtest/gtest.h>

#include <functional>
#include <string>

namespace podfence::test {

/// The body's own EXPECT_ and ASSERT_ work as usual: their texts come back in the result, which is a failure when one
/// failed, when the child died, or when the namespaces could not be made (never a skip). The loopback device is up.
/// As root only a network namespace is made; others get a user namespace in which they are root.
::testing::AssertionResult in_new_netns(const std::function<void()>& body);

/// What a shell command printed (standard output and error together) and its exit status; -1 when it was killed.
struct CommandResult {
  int status = -1;
  std::string output;
};

CommandResult run(const std::string& command);

/// The same with a text as its standard input.
CommandResult run_with_input(const std::string& command, const std::string& input);

}  // namespace podfence::test
