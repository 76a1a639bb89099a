#include "tests/bench/agent_figures.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "enforcer/agent/control.h"
#include "enforcer/checkpoint/checkpoint.h"
#include "policy/evaluate/evaluate.h"
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

void end(pid_t pid) {
  ::kill(pid, SIGTERM);
  ::waitpid(pid, nullptr, 0);
}

/// Of a pod of this node that policies isolate: nothing that is random reaches it.
net::IpAddr isolated_address(const store::Cluster& cluster) {
  for (const auto& [key, pod] : cluster.pods()) {
    if (pod.node != local_node || evaluate::isolating(cluster, pod, net::Direction::ingress).empty()) continue;
    return pod.ips.front();
  }
  throw std::runtime_error("the world has no isolated pod");
}

enum class Source { manifests, kubernetes };

/// The child becomes the agent; nothing of its output is shown. As its API server there is nobody.
pid_t launch(const char* podfence, const fs::path& directory, Source from = Source::manifests) {
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  const int null = ::open((directory / "agent.log").c_str(), O_WRONLY | O_CREAT, 0600);
  ::dup2(null, 1);
  ::dup2(null, 2);
  const auto source = "dir:" + (directory / "objects").string();
  const auto socket = (directory / "run" / "agent.sock").string();
  const auto state = (directory / "state").string();
  const auto log = (directory / "flows.jsonl").string();
  const auto config = (directory / "kubeconfig").string();
  std::vector<const char*> arguments{podfence,     "agent",        "--node",      local_node.data(),
                                     "--socket",   socket.c_str(), "--state-dir", state.c_str(),
                                     "--flow-log", log.c_str(),    "--source"};
  if (from == Source::manifests) arguments.push_back(source.c_str());
  if (from == Source::kubernetes) arguments.insert(arguments.end(), {"kubernetes", "--kubeconfig", config.c_str()});
  arguments.push_back(nullptr);
  ::execv(podfence, const_cast<char**>(arguments.data()));
  ::_exit(127);
}

void write_world(const std::vector<store::Event>& events, const fs::path& directory) {
  fs::remove_all(directory);
  fs::create_directories(directory / "objects");
  fs::create_directories(directory / "state");
  std::ofstream(directory / "objects" / "world.json") << manifest(events);
}

/// Milliseconds until the agent says that it enforces.
double wait_until_enforcing(pid_t pid, const fs::path& directory) {
  const double before = wall_us();
  const auto socket = (directory / "run" / "agent.sock").string();
  for (int i = 0; i < 12000; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    const auto answer = agent::ask(socket, R"({"command":"ready"})");
    if (answer && answer->find("\"ready\":true") != std::string::npos) return (wall_us() - before) / 1000;
    int ended = 0;
    if (::waitpid(pid, &ended, WNOHANG) == pid) throw std::runtime_error("the agent ended; see agent.log");
  }
  end(pid);
  throw std::runtime_error("the agent did not enforce within a minute");
}

/// What an agent would have left of this world, and how long it would have been busy with it.
void write_checkpoint(const std::vector<store::Event>& events, const fs::path& directory) {
  store::Cluster cluster;
  for (const auto& event : events) cluster.apply(event);
  archive::Origin origin;
  origin.node = local_node;
  origin.boot = checkpoint::boot_id();
  archive::Encoder::Bytes bytes;
  std::vector<double> times;
  for (int i = 0; i < 7; ++i) {
    const double before = cpu_us();
    archive::Encoder encoder(bytes.all.size());
    for (const auto& [key, object] : cluster.namespaces()) encoder.add(object);
    for (const auto& [key, object] : cluster.nodes()) encoder.add(object);
    for (const auto& [key, object] : cluster.pods()) encoder.add(object);
    for (const auto& [key, object] : cluster.policies()) encoder.add(object);
    bytes = std::move(encoder).finish(origin);
    times.push_back(cpu_us() - before);
  }
  const auto saved = checkpoint::File((directory / "state" / "checkpoint").string()).save(bytes.all);
  if (!saved) throw std::runtime_error(saved.error().what());
  const bool has_target = cluster.pods().size() == 10000;
  const auto pods = std::to_string(cluster.pods().size()) + " pods";
  report("checkpoint of " + pods, text(static_cast<double>(bytes.all.size()) / 1e6, "%.2f MB"), "(shown)", true);
  report("encoding it, CPU of the loop", text(median(times) / 1000, "%.2f ms"), has_target ? "<= 10 ms" : "(shown)",
         !has_target || median(times) <= 10'000);
}

Started start(const char* podfence, Size size, const fs::path& directory, Source from = Source::manifests) {
  write_world(world(size), directory);
  if (from == Source::kubernetes) {
    std::ofstream(directory / "kubeconfig")
        << R"({"current-context": "c", "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1",)"
        << R"( "insecure-skip-tls-verify": true}}], "users": [{"name": "c", "user": {"token": "none"}}],)"
        << R"( "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}]})";
    write_checkpoint(world(size), directory);
  }
  const NetNamespace ns;
  const Inside here(ns);
  const pid_t pid = launch(podfence, directory, from);
  Started result;
  result.ms = wait_until_enforcing(pid, directory);
  std::this_thread::sleep_for(std::chrono::seconds(2));
  result.resident_mb = resident_mb(pid);
  end(pid);
  fs::remove_all(directory);
  return result;
}

/// Seconds of CPU that the process used so far.
double cpu_seconds(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(file, text);
  std::istringstream fields(text.substr(text.rfind(')') + 1));
  std::string skipped;
  for (int i = 0; i < 11; ++i) fields >> skipped;
  double user = 0;
  double system = 0;
  fields >> user >> system;
  return (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

/// CPU of the process for each second of wall time.
double share_of_a_core(pid_t pid, std::chrono::seconds length) {
  const double cpu = cpu_seconds(pid);
  const double wall = wall_us();
  std::this_thread::sleep_for(length);
  return (cpu_seconds(pid) - cpu) / (wall_us() - wall) * 1e6;
}

/// Sends with random tuples until it is ended; `ended_flood` answers how many packets a second it sent.
struct Flood {
  pid_t pid = -1;
  int answer = -1;
};

Flood begin_flood(const Wire& wire, const net::IpAddr& to) {
  wire.node.shell("ip link set client address 02:00:00:00:00:02");
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe");
  const Inside here(wire.client);
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::dup2(pipe[1], 1);
    ::execl(PODFENCE_FLOOD_SENDER, "flood", "eth0", "02:00:00:00:00:02", to.text().c_str(), "600", "random", nullptr);
    ::_exit(127);
  }
  ::close(pipe[1]);
  return {pid, pipe[0]};
}

double ended_flood(const Flood& flood) {
  ::kill(flood.pid, SIGTERM);
  std::array<char, 128> text{};
  const auto size = ::read(flood.answer, text.data(), text.size() - 1);
  ::close(flood.answer);
  ::waitpid(flood.pid, nullptr, 0);
  double packets = 0;
  double us = 0;
  if (size <= 0 || std::sscanf(text.data(), "%lf %lf", &packets, &us) != 2) throw std::runtime_error("no flood");
  return packets / us * 1e6;
}

void flood_figures(const char* podfence, const fs::path& directory, bool in_short) {
  std::puts(
      "\nThe agent while denied packets with random addresses and ports come in as fast as senders on all processors "
      "can");
  const auto events = world({1000, 100});
  store::Cluster cluster;
  for (const auto& event : events) cluster.apply(event);
  write_world(events, directory);
  const auto target = isolated_address(cluster);
  const Wire wire(net::IpAddr::v4(203, 0, 113, 7), target);
  const Inside here(wire.node);
  const pid_t pid = launch(podfence, directory);
  wait_until_enforcing(pid, directory);
  std::this_thread::sleep_for(std::chrono::seconds(3));  // what starting takes
  const std::chrono::seconds length(in_short ? 5 : 20);
  const double idle = share_of_a_core(pid, length);
  const Flood flood = begin_flood(wire, target);
  std::this_thread::sleep_for(std::chrono::seconds(7));  // a window and more: records are written
  const double flooded = share_of_a_core(pid, length);
  const double rate = ended_flood(flood);
  end(pid);
  fs::remove_all(directory);
  report("denied packets offered", text(rate / 1000, "%.0f thousand a second"), ">= 250", rate >= 250'000);
  report("CPU of the agent, of a core: idle", text(100 * idle, "%.2f %%"), "(shown)", true);
  report("CPU of the agent, of a core: flooded", text(100 * flooded, "%.2f %%"), "< 5 %", flooded < 0.05);
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
  const auto report_starts = [&](Source from, double most_ms) {
    for (const auto& [size, most_mb] : rows) {
      const auto started = start(podfence, size, directory, from);
      const auto world_text = std::to_string(size.pods) + " pods, " + std::to_string(size.policies) + " policies";
      const bool has_target = size.pods == 10000;
      report("start to enforcing, " + world_text, text(started.ms, "%.0f ms"),
             has_target ? "<= " + text(most_ms, "%.0f ms") : "(shown)", !has_target || started.ms <= most_ms);
      report("resident memory, " + world_text, text(started.resident_mb, "%.1f MB"), "<= " + text(most_mb, "%.0f MB"),
             started.resident_mb <= most_mb);
    }
  };
  report_starts(Source::manifests, 3000);
  std::puts("\nThe agent, from a checkpoint, with no API server");
  report_starts(Source::kubernetes, 200);
  flood_figures(podfence, directory, in_short);
}

}  // namespace podfence::bench
