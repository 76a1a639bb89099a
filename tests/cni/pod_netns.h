#pragma once
// A pod's network namespace, held by a process of its own, so that no file on the machine is needed to name it.
#include <sys/types.h>

#include <string>

namespace podfence::test {

class PodNetns {
 public:
  PodNetns();
  ~PodNetns();
  PodNetns(const PodNetns&) = delete;
  PodNetns& operator=(const PodNetns&) = delete;

  std::string path() const { return "/proc/" + pid() + "/ns/net"; }
  /// For ip link ... netns PID.
  std::string pid() const { return std::to_string(holder_); }
  /// A shell command inside; its output. Any failure of it fails the test.
  std::string run_inside(const std::string& command) const;

 private:
  pid_t holder_;
};

/// A shell command out here; any failure of it fails the test.
std::string run_here(const std::string& command);

}  // namespace podfence::test
