// nft and our table: its listing is what print() says, in text and JSON, and it reloads.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>

#include "policy/program/print.h"
#include "tests/enforcer/kernel/worlds.h"

namespace podfence::kernel {
namespace {

using program::Program;

/// The listing with the elements of each set sorted: nft keeps ranges of ports in the order in which they came.
std::string normal_form(const std::string& listing) {
  const std::string begin = "\t\telements = { ";
  std::istringstream lines(listing);
  std::string out;
  std::string line;
  while (std::getline(lines, line)) {
    if (line.compare(0, begin.size(), begin) != 0) {
      out += line + "\n";
      continue;
    }
    std::string block = line.substr(begin.size());
    while (block.back() != '}' && std::getline(lines, line)) block += " " + line.substr(line.find_first_not_of("\t "));
    block.resize(block.size() - 2);  // " }"
    std::vector<std::string> elements;
    for (std::size_t at = 0; at != std::string::npos;) {
      const std::size_t comma = block.find(", ", at);
      elements.push_back(block.substr(at, comma - at));
      at = comma == std::string::npos ? comma : comma + 2;
    }
    std::sort(elements.begin(), elements.end());
    for (const auto& element : elements) out += begin + element + "\n";
  }
  return out;
}

TEST(Listing, IsWhatPrintSaysAndReloads) {
  std::mt19937_64 random(test::test_seed());
  for (int round = 0; round < 5; ++round) {
    const Program program = test::random_program(random, 12);
    std::string listing;
    EXPECT_TRUE(test::in_new_netns([&] {
      auto kernel = open_kernel();
      ASSERT_TRUE(kernel);
      ASSERT_TRUE(committed(*kernel, diff::install_of(program)));
      listing = test::run("nft list ruleset").output;
      EXPECT_EQ(normal_form(listing), normal_form(program::print(program)));
      EXPECT_EQ(test::run("nft -j list ruleset | jq -e '.nftables | length > 100'").output, "true\n");
      ASSERT_TRUE(kernel->purge());
      EXPECT_EQ(test::run("nft list ruleset").output, "");

      // What nft loads from its own listing is our table again, to the last expression.
      const auto loaded = test::run_with_input("nft -f -", listing);
      ASSERT_EQ(loaded.status, 0) << loaded.output;
      EXPECT_EQ(test::run("nft list ruleset").output, listing);
      EXPECT_TRUE(holds(*kernel, program));
    }));
  }
}

TEST(Listing, WorksWithFiftyThousandElements) {
  EXPECT_TRUE(test::in_new_netns([] {
    auto kernel = open_kernel();
    ASSERT_TRUE(kernel);
    const Program program = wide_program(50000);
    ASSERT_TRUE(committed(*kernel, diff::install_of(program)));
    // A listing misses elements while the kernel still moves them to a larger hash table; read() waits for the end.
    ASSERT_TRUE(holds(*kernel, program));
    // Compared by digest: the text of a difference would be megabytes.
    const auto printed = test::run_with_input("sort | sha256sum", program::print(program));
    std::string listed;
    for (int look = 0; look < 20 && listed != printed.output; ++look) {  // the table may begin to grow once more
      listed = test::run("nft list ruleset | sort | sha256sum").output;
    }
    EXPECT_EQ(listed, printed.output);
    EXPECT_EQ(test::run("nft -j list ruleset | jq -e '[.nftables[] | select(.map.name == \"in_peer4\")][0].map.elem "
                        "| length'")
                  .output,
              "50000\n");
  }));
}

TEST(Listing, WorksWhileElementsAreLoaded) {
  EXPECT_TRUE(test::in_new_netns([] {
    auto kernel = open_kernel();
    ASSERT_TRUE(kernel);
    const Program program = wide_program(20000);
    ASSERT_TRUE(committed(*kernel, diff::install_of(program)));
    const pid_t reader = ::fork();
    if (reader == 0) {
      for (int i = 0; i < 3; ++i) {
        if (test::run("nft list ruleset >/dev/null").status != 0) ::_exit(1);
      }
      ::_exit(0);
    }
    int status = -1;
    for (unsigned round = 1; ::waitpid(reader, &status, WNOHANG) == 0; ++round) {
      ASSERT_TRUE(committed(*kernel, diff::changes_between(program, {})));
      ASSERT_TRUE(committed(*kernel, diff::changes_between({}, program)));
      // nft begins again when a commit interrupts it: longer and longer pauses let it come to an end.
      ::usleep(20000 * round);
    }
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
    EXPECT_TRUE(holds(*kernel, program));
  }));
}

}  // namespace
}  // namespace podfence::kernel
