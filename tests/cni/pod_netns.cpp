#include "tests/cni/pod_netns.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

#include "tests/support/netns.h"

namespace podfence::test {

PodNetns::PodNetns() {
  std::array<int, 2> ready{};
  EXPECT_EQ(::pipe(ready.data()), 0);
  holder_ = ::fork();
  if (holder_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const char ok = ::unshare(CLONE_NEWNET) == 0 ? 'y' : 'n';
    if (::write(ready[1], &ok, 1) != 1) ::_exit(1);
    for (;;) ::pause();
  }
  char ok = 'n';
  EXPECT_EQ(::read(ready[0], &ok, 1), 1);
  EXPECT_EQ(ok, 'y') << "no network namespace";
  ::close(ready[0]);
  ::close(ready[1]);
}

PodNetns::~PodNetns() {
  ::kill(holder_, SIGKILL);
  ::waitpid(holder_, nullptr, 0);
}

std::string PodNetns::run_inside(const std::string& command) const {
  return run_here("nsenter --net=" + path() + " -- sh -c '" + command + "'");
}

std::string run_here(const std::string& command) {
  const CommandResult result = run(command);
  EXPECT_EQ(result.status, 0) << command << ": " << result.output;
  return result.output;
}

}  // namespace podfence::test
