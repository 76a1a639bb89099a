#pragma once
// podfence-cni as a program: started with an environment and an input, watched until it ends.
#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

namespace podfence::test {

struct ProgramAnswer {
  int status = -1;  // exit status; -1 when it was killed
  std::string out;
  std::string err;
  std::chrono::microseconds took{0};
};

/// The plugin that was built.
std::string plugin_file();

class Program {
 public:
  enum class Input { text, closed, left_open };

  /// `variables` are "NAME=value". The input is small enough for a pipe.
  Program(const std::vector<std::string>& variables, const std::string& input, Input how = Input::text,
          const std::string& file = plugin_file(), bool close_output = false);
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  pid_t pid() const { return pid_; }
  /// Until nobody holds its output any more, and it has ended.
  ProgramAnswer wait();

 private:
  pid_t pid_ = -1;
  int in_ = -1;
  int out_ = -1;
  int err_ = -1;
  std::chrono::steady_clock::time_point begin_;
};

inline ProgramAnswer run_program(const std::vector<std::string>& variables, const std::string& input) {
  return Program(variables, input).wait();
}

}  // namespace podfence::test
