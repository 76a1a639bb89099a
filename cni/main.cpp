#include <fcntl.h>
#include <unistd.h>

#include <iostream>

#include "cni/linux_host.h"
#include "cni/plugin.h"

namespace {

/// A socket must not come to lie where standard output was closed. What is closed stays unusable: it is opened for
/// the other direction.
void occupy_standard_descriptors() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(fd, F_GETFD) < 0) ::open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
  }
}

}  // namespace

int main() {
  occupy_standard_descriptors();
  std::ios::sync_with_stdio(false);  // only then does std::cin tell an error from the end
  podfence::cni::UnixAgent agent;
  podfence::cni::LinuxHost host;
  return podfence::cni::run(podfence::cni::Env::of(environ), std::cin, std::cout, std::cerr, agent, host);
}
