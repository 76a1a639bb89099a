#include "tests/bench/agent_figures.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <thread>

#include "enforcer/agent/control.h"
#include "tests/bench/figures.h"
#include "tests/bench/wire.h"
#include "tests/bench/world.h"

namespace podfence::bench {
namespace {

namespace fs = std::filesystem;

struct Started {
  double ms = 0;
  double resident_mb = 0;
};

double resident_mb(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmRSS:", 0) == 0) return std::stod(line.substr(6)) / 1024;
  }
  return 0;
}

/// The child becomes the agent; nothing of its output is shown.
pid_t launch(const char* podfence, const fs::path& directory) {
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  const int null = ::open((directory / "agent.log").c_str(), O_WRONLY | O_CREAT, 0600);
  ::dup2(null, 1);
  ::dup2(null, 2);
  const auto source = "dir:" + (directory / "objects").string();
  const auto socket = (directory / "run" / "agent.sock").string();
  const auto state = (directory / "state").string();
  const auto log = (directory / "flows.jsonl").string();
  ::execl(podfence, podfence, "agent", "--source", source.c_str(), "--node", std::string(local_node).c_str(),
          "--socket", socket.c_str(), "--state-dir", state.c_str(), "--flow-log", log.c_str(), nullptr);
  ::_exit(127);
}

Started start(const char* podfence, Size size, const fs::path& directory) {
  fs::remove_all(directory);
  fs::create_directories(directory / "objects");
  fs::create_directories(directory / "state");
  std::ofstream(directory / "objects" / "world.json") << manifest(world(size));
  const NetNamespace ns;
  const Inside here(ns);
  const double before = wall_us();
  const pid_t pid = launch(podfence, directory);
  Started result;
  const auto socket = (directory / "run" / "agent.sock").string();
  for (int i = 0; i < 12000 && result.ms == 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    const auto answer = agent::ask(socket, R"({"command":"ready"})");
    if (answer && answer->find("\"ready\":true") != std::string::npos) result.ms = (wall_us() - before) / 1000;
    int ended = 0;
    if (::waitpid(pid, &ended, WNOHANG) == pid) throw std::runtime_error("the agent ended; see agent.log");
  }
  std::this_thread::sleep_for(std::chrono::seconds(2));
  result.resident_mb = resident_mb(pid);
  ::kill(pid, SIGTERM);
  ::waitpid(pid, nullptr, 0);
  fs::remove_all(directory);
  if (result.ms == 0) throw std::runtime_error("the agent did not enforce within a minute");
  return result;
}

}  // namespace

void agent_figures(const char* podfence, bool in_short) {
  std::puts("\nThe agent, from the directory");
  const fs::path directory = fs::temp_directory_path() / ("podfence-bench-" + std::to_string(::getpid()));
  struct Row {
    Size size;
    double most_mb;
  };
  std::vector<Row> rows{{{1000, 100}, 20}, {{10000, 1000}, 25}, {{100000, 10000}, 64}};
  if (in_short) rows.resize(1);
  for (const auto& [size, most_mb] : rows) {
    const auto started = start(podfence, size, directory);
    const auto world_text = std::to_string(size.pods) + " pods, " + std::to_string(size.policies) + " policies";
    const bool has_target = size.pods == 10000;
    report("start to enforcing, " + world_text, text(started.ms, "%.0f ms"), has_target ? "<= 3000 ms" : "(shown)",
           !has_target || started.ms <= 3000);
    report("resident memory, " + world_text, text(started.resident_mb, "%.1f MB"), "<= " + text(most_mb, "%.0f MB"),
           started.resident_mb <= most_mb);
  }
}

}  // namespace podfence::bench
