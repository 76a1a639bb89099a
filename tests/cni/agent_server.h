#pragma once
// An agent's socket with a thread behind it that does one thing to every connection.
#include <sys/types.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace podfence::test {

class AgentServer {
 public:
  enum class Does { answers, hangs, hangs_up, answers_without_newline, floods, drips };

  /// `answer` without its newline.
  AgentServer(const std::string& path, Does what, std::string answer = R"({"ok":true,"pod_known":false})");
  ~AgentServer();
  AgentServer(const AgentServer&) = delete;
  AgentServer& operator=(const AgentServer&) = delete;

  std::vector<std::string> requests();

 private:
  void serve();
  void handle(int fd);

  int listener_;
  std::string path_;
  Does what_;
  std::string answer_;
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::vector<std::string> requests_;
  std::vector<int> held_;
  std::thread thread_;
};

/// A directory of its own below /tmp that goes with it.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace podfence::test
