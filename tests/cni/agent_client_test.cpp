// The plugin's side of the agent's socket, against agents that do their worst; and the journal on a real disk.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <future>

#include "cni/agent_client.h"
#include "cni/journal.h"
#include "cni/linux_host.h"
#include "tests/cni/agent_server.h"

namespace podfence::test {
namespace {

using cni::IfAbsent;
using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Clock = std::chrono::steady_clock;
using Does = AgentServer::Does;

class Client : public ::testing::Test {
 protected:
  Result<std::string> ask(milliseconds limit = milliseconds(5000), IfAbsent absent = IfAbsent::give_up) {
    return cni::UnixAgent().ask(socket, R"({"command":"x"})", limit, absent);
  }
  TemporaryDirectory directory;
  std::string socket = directory / "agent.sock";
};

TEST_F(Client, a_line_for_a_line) {
  for (const Does what : {Does::answers, Does::answers_without_newline, Does::drips}) {
    AgentServer agent(socket, what, R"({"ok":true})");
    const auto answer = ask();
    ASSERT_TRUE(answer) << answer.error().what();
    EXPECT_EQ(*answer, R"({"ok":true})");
    EXPECT_THAT(agent.requests(), ElementsAre(R"({"command":"x"})"));
  }
}

TEST_F(Client, nobody_listens) {
  EXPECT_EQ(ask().error().code(), Errc::unavailable);
  { AgentServer agent(socket, Does::answers); }
  std::ofstream(socket) << "a file";
  EXPECT_EQ(ask().error().code(), Errc::unavailable);
  EXPECT_THAT(ask().error().what(), HasSubstr("agent.sock"));
}

// A11
TEST_F(Client, A11_a_hung_agent_costs_the_limit_and_no_more) {
  AgentServer agent(socket, Does::hangs);
  const auto begin = Clock::now();
  const auto answer = ask(milliseconds(80));
  EXPECT_EQ(answer.error().code(), Errc::busy);
  EXPECT_GE(Clock::now() - begin, milliseconds(80));
  EXPECT_LT(Clock::now() - begin, milliseconds(1000));
}

TEST_F(Client, an_agent_that_hangs_up_is_absent) {
  AgentServer agent(socket, Does::hangs_up);
  EXPECT_EQ(ask().error().code(), Errc::unavailable);
  EXPECT_EQ(ask(milliseconds(100), IfAbsent::wait).error().code(), Errc::unavailable);
}

TEST_F(Client, an_answer_has_an_end) {
  AgentServer agent(socket, Does::floods);
  EXPECT_EQ(ask().error().code(), Errc::limit);
}

TEST_F(Client, waits_for_an_agent_that_restarts) {
  auto answer = std::async(std::launch::async, [&] { return ask(milliseconds(10'000), IfAbsent::wait); });
  std::this_thread::sleep_for(milliseconds(100));
  AgentServer agent(socket, Does::answers);
  EXPECT_TRUE(answer.get());
}

TEST_F(Client, a_full_queue_is_a_busy_agent_and_not_an_endless_wait) {
  const int listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  { AgentServer agent(socket, Does::answers); }
  struct {
    sa_family_t family = AF_UNIX;
    char path[108] = {};
  } address;
  socket.copy(address.path, sizeof(address.path) - 1);
  ASSERT_EQ(::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  ASSERT_EQ(::listen(listener, 0), 0);
  EXPECT_EQ(ask(milliseconds(30)).error().code(), Errc::busy);  // fills the queue
  const auto begin = Clock::now();
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(ask(milliseconds(50), IfAbsent::wait));
  EXPECT_LT(Clock::now() - begin, milliseconds(2000));
  ::close(listener);
}

std::string read_text(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

mode_t mode_of(const std::string& path) {
  struct stat info {};
  EXPECT_EQ(::stat(path.c_str(), &info), 0) << path;
  return info.st_mode & 0777U;
}

// D7
TEST(Journal, D07_one_file_for_an_attachment_closed_to_others) {
  TemporaryDirectory directory;
  const std::string state = directory / "lib/podfence";
  ASSERT_TRUE(cni::write_to_journal(state, "c0ffee@eth0", "first"));
  ASSERT_TRUE(cni::write_to_journal(state, "c0ffee@eth0", "second"));
  ASSERT_TRUE(cni::write_to_journal(state, "c0ffee@net1", "other"));
  EXPECT_EQ(read_text(state + "/cni-journal/c0ffee@eth0"), "second\n");
  EXPECT_EQ(cni::read_from_journal(state, "c0ffee@eth0"), "second\n");
  EXPECT_EQ(mode_of(state + "/cni-journal"), 0700U);
  EXPECT_EQ(mode_of(state + "/cni-journal/c0ffee@eth0"), 0600U);
  cni::erase_from_journal(state, "c0ffee@eth0");
  EXPECT_FALSE(cni::read_from_journal(state, "c0ffee@eth0"));
  std::size_t files = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(state + "/cni-journal")) ++files;
  EXPECT_EQ(files, 1U) << "nothing temporary stays";
}

TEST(Journal, says_where_it_cannot_write) {
  TemporaryDirectory directory;
  std::ofstream(directory / "file") << "x";
  const auto written = cni::write_to_journal(directory / "file", "a@b", "x");
  ASSERT_FALSE(written);
  EXPECT_THAT(written.error().what(), HasSubstr("file"));
  EXPECT_FALSE(cni::read_from_journal(directory / "file", "a@b"));
}

TEST(Log, appends_lines_with_their_time_and_never_fails) {
  TemporaryDirectory directory;
  cni::LinuxHost host;
  host.log(directory / "log", "one");
  host.log(directory / "log", "two");
  host.log(directory / "no/such/log", "three");
  EXPECT_THAT(read_text(directory / "log"), ::testing::MatchesRegex("[-0-9T:]+Z one\n[-0-9T:]+Z two\n"));
}

}  // namespace
}  // namespace podfence::test
