// podfence_bench [--short] [PODFENCE]: every figure as a ratio or a count from this one run. The method is in
// README.md.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>

#include "enforcer/kernel/nft_kernel.h"
#include "policy/compile/compiler.h"
#include "policy/diff/diff.h"
#include "policy/evaluate/evaluate.h"
#include "tests/bench/agent_figures.h"
#include "tests/bench/figures.h"
#include "tests/bench/wire.h"
#include "tests/bench/world.h"

namespace podfence::bench {
namespace {

bool in_short = false;

compile::Settings settings() {
  compile::Settings s;
  s.node = local_node;
  return s;
}

std::unique_ptr<kernel::NftKernel> open_kernel() {
  auto opened = kernel::NftKernel::open();
  if (!opened) throw std::runtime_error(opened.error().what());
  return std::move(*opened);
}

void commit(kernel::Kernel& kernel, const diff::Changes& changes) {
  if (auto done = kernel.commit(changes); !done) throw std::runtime_error(done.error().error.what());
}

compile::Compiler compiler_of(Size size) {
  compile::Compiler compiler(settings());
  const auto events = world(size);
  compiler.apply(events);
  return compiler;
}

/// A flow that the world's policies judge and allow: from a pod elsewhere to a pod of this node on its http port.
net::Flow allowed_flow(const store::Cluster& cluster) {
  for (const auto& [local_key, local] : cluster.pods()) {
    if (local.node != local_node) continue;
    if (evaluate::isolating(cluster, local, net::Direction::ingress).empty()) continue;
    for (const auto& [key, remote] : cluster.pods()) {
      if (remote.node == local_node || key.first != local_key.first) continue;
      const net::Flow flow{remote.ips.front(), local.ips.front(), net::tcp, net::Port{8080}};
      if (evaluate::evaluate(cluster, flow, {std::string(local_node), true}).allowed) return flow;
    }
  }
  throw std::runtime_error("the world has no allowed flow");
}

constexpr const char* conntrack_only =
    "table inet base {\n chain f {\n  type filter hook forward priority filter; policy accept;\n"
    "  ct state established,related accept\n }\n}\n";

/// The peers' way: a chain and a set for each policy, and the pod's chain goes through them all.
std::string chains_ruleset(std::size_t policies, const net::Flow& flow) {
  std::string text = "table inet chains {\n";
  std::string jumps;
  for (std::size_t i = 0; i < policies; ++i) {
    const auto n = std::to_string(i);
    const bool last = i + 1 == policies;
    text += " set s" + n + " { type ipv4_addr; elements = { " + (last ? flow.source.text() : "198.51.100.1") + " } }\n";
    text += " chain p" + n + " {\n  ip saddr @s" + n + " tcp dport 8080 accept\n }\n";
    jumps += "  jump p" + n + "\n";
  }
  return text + " chain pod {\n" + jumps +
         "  drop\n }\n chain f { type filter hook forward priority filter; policy accept;\n" +
         "  ct state established,related accept\n  ip daddr " + flow.destination.text() + " jump pod\n }\n}\n";
}

void load_text(const NetNamespace& ns, const std::string& ruleset) {
  const auto file = std::string("/tmp/podfence-bench-") + std::to_string(::getpid()) + ".nft";
  std::ofstream(file) << ruleset;
  ns.shell("nft -f " + file);
  ::unlink(file.c_str());
}

/// Median over rounds of rate(with) / rate(conntrack only). The two are taken in turn, each first in every other round:
/// short ones, so that what else the machine does meets both.
double rate_ratio(const net::Flow& flow, const std::function<void(const NetNamespace&)>& load) {
  const Wire base(flow.source, flow.destination);
  const Wire with(flow.source, flow.destination);
  load_text(base.node, conntrack_only);
  load(with.node);
  const std::size_t connections = 2000;
  const auto rate_of = [&](const Wire& wire) {
    const double rate = connection_rate(wire, flow.destination, flow.destination_port, connections);
    if (rate <= 0) throw std::runtime_error("an allowed connection did not pass");
    wire.node.shell("conntrack -F >/dev/null 2>&1");
    return rate;
  };
  std::vector<double> ratios;
  for (int round = 0; round < (in_short ? 4 : 50); ++round) {
    const bool base_first = round % 2 == 0;
    const double first = rate_of(base_first ? base : with);
    const double second = rate_of(base_first ? with : base);
    ratios.push_back(base_first ? second / first : first / second);
  }
  return median(ratios);
}

void connection_rates() {
  std::puts("\nNew connections through the node, against `ct state established,related accept` alone");
  const net::Flow any{net::IpAddr::v4(10, 0, 1, 1), net::IpAddr::v4(10, 0, 1, 2), net::tcp, net::Port{8080}};
  const double itself = rate_ratio(any, [](const NetNamespace& node) { load_text(node, conntrack_only); });
  report("that ruleset against itself: the error of the method", text(itself, "%.3f x"), "(shown)", true);
  std::vector<Size> sizes{{1000, 1}, {1000, 100}, {1000, 10000}, {100000, 1}, {100000, 100}, {100000, 10000}};
  if (in_short) sizes = {{1000, 100}};
  std::vector<double> ours;
  for (const auto size : sizes) {
    const auto compiler = compiler_of(size);
    const auto program = compiler.program();
    const double ratio = rate_ratio(allowed_flow(compiler.cluster()), [&](const NetNamespace& node) {
      const Inside here(node);
      commit(*open_kernel(), diff::install_of(program));
    });
    report(std::to_string(size.policies) + " policies, " + std::to_string(size.pods) + " pods", text(ratio, "%.3f x"),
           ">= 0.98", ratio >= 0.98);
    ours.push_back(ratio);
  }
  const double flat = *std::min_element(ours.begin(), ours.end()) / *std::max_element(ours.begin(), ours.end());
  report("flat: the slowest of these against the fastest", text(flat, "%.3f x"), ">= 0.98", flat >= 0.98);
  const auto flow = allowed_flow(compiler_of({1000, 100}).cluster());
  const std::size_t policies = in_short ? 100 : 1000;
  const double chains =
      rate_ratio(flow, [&](const NetNamespace& node) { load_text(node, chains_ruleset(policies, flow)); });
  report(std::to_string(policies) + " policies on the pod as chains with a set each", text(chains, "%.3f x"), "(shown)",
         true);
}

struct PodEvent {
  double commit_us = 0;  // wall time of the kernel transaction
  double cpu_us = 0;     // event taken to commit returned, CPU
};

PodEvent one_pod(Size size) {
  const NetNamespace ns;
  const Inside here(ns);
  const auto kernel = open_kernel();
  auto compiler = compiler_of(size);
  commit(*kernel, diff::install_of(compiler.program()));
  std::vector<double> commits;
  std::vector<double> cpu;
  for (std::size_t serial = 0; serial < 201; ++serial) {
    const store::Event event = store::Upsert{one_more_pod(size, serial)};
    const double cpu_before = cpu_us();
    const auto changes = compiler.apply({event});
    const double wall_before = wall_us();
    commit(*kernel, changes);
    commits.push_back(wall_us() - wall_before);
    cpu.push_back(cpu_us() - cpu_before);
    if (changes.operations() == 0) throw std::runtime_error("a new pod changed nothing");
  }
  return {median(commits), median(cpu)};
}

Size large_size() {
  return in_short ? Size{10000, 1000} : Size{100000, 10000};
}

/// The pod event that costs most: it makes a peer matter that many pods match, each of which needs an element then.
void wide_pod_event() {
  const NetNamespace ns;
  const Inside here(ns);
  const auto kernel = open_kernel();
  auto compiler = compiler_of(large_size());
  compiler.apply({store::Upsert{wide_policy()}});
  commit(*kernel, diff::install_of(compiler.program()));
  const auto pod = pod_of_wide_policy();
  std::vector<double> compiled;
  std::vector<double> committed;
  std::size_t operations = 0;
  for (int round = 0; round < 9; ++round) {
    const double begin = cpu_us();
    const auto changes = compiler.apply({store::Upsert{pod}});
    compiled.push_back(cpu_us() - begin);
    commit(*kernel, changes);
    committed.push_back(cpu_us() - begin);
    operations = changes.operations();
    commit(*kernel, compiler.apply({store::Remove{api::key_of(pod), ""}}));
  }
  const auto pods = "first local pod to need a peer of " + std::to_string(operations) + " pods: ";
  report(pods + "compiled", text(median(compiled) / 1000, "%.1f ms CPU"), "<= 2 ms", median(compiled) <= 2000);
  report(pods + "committed", text(median(committed) / 1000, "%.1f ms CPU"), "<= 2 ms", median(committed) <= 2000);
}

void pod_events() {
  std::puts("\nOne pod added");
  const auto small = one_pod({1000, 100});
  const auto large = one_pod(large_size());
  const auto at = std::to_string(large_size().pods) + " pods";
  const double ratio = large.commit_us / small.commit_us;
  report("kernel commit, " + at + " against 1000 pods", text(ratio) + " x", "<= 1.5", ratio <= 1.5);
  report("kernel commit at " + at, text(large.commit_us, "%.0f us"), "<= 60 us", large.commit_us <= 60);
  report("event to commit returned at " + at, text(large.cpu_us / 1000, "%.3f ms CPU"), "<= 2 ms",
         large.cpu_us <= 2000);
  wide_pod_event();
}

void policy_events() {
  std::printf("\nOne policy added and removed at %zu pods, peers along existing class borders\n", large_size().pods);
  const NetNamespace ns;
  const Inside here(ns);
  const auto kernel = open_kernel();
  auto compiler = compiler_of(large_size());
  commit(*kernel, diff::install_of(compiler.program()));
  std::vector<double> cpu;
  std::size_t operations = 0;
  std::size_t peer_elements = 0;
  std::size_t numbers = 0;
  for (std::size_t serial = 0; serial < 20; ++serial) {
    const auto policy = one_more_policy(serial);
    const store::Event add = store::Upsert{policy};
    const store::Event remove = store::Remove{api::key_of(policy), policy.meta.uid};
    for (const auto* event : {&add, &remove}) {
      const double before = cpu_us();
      const auto changes = compiler.apply({*event});
      commit(*kernel, changes);
      cpu.push_back(cpu_us() - before);
      operations = std::max(operations, changes.operations());
      std::size_t of_pods = 0;
      for (const auto& [set, change] : changes.sets) {
        using program::Shape;
        const auto elements = change.added.size() + change.removed.size();
        if (set.shape == Shape::cidr_class || set.shape == Shape::peer_class) peer_elements += elements;
        if (set.shape == Shape::policies) of_pods += elements;
      }
      numbers = std::max(numbers, of_pods);
    }
  }
  report("peer elements written", std::to_string(peer_elements), "0", peer_elements == 0);
  report("its own elements, at most", std::to_string(operations), "(shown)", true);
  report("of these, which policies isolate its pods", std::to_string(numbers), "(shown)", true);
  report("event to commit returned", text(median(cpu) / 1000, "%.3f ms CPU"), "<= 50 ms", median(cpu) <= 50000);
}

void restart() {
  std::puts("\nRestart of an unchanged world");
  const Size size = large_size();
  const NetNamespace ns;
  const Inside here(ns);
  const auto kernel = open_kernel();
  auto events = world(size);
  {
    compile::Compiler first(settings());
    std::vector<store::Event> other_order(events.rbegin(), events.rend());
    first.apply(other_order);
    commit(*kernel, diff::install_of(first.program()));
  }
  compile::Compiler second(settings());
  second.apply(events);
  const double before = wall_us();
  const auto held = kernel->read();
  if (!held || !held->intact) throw std::runtime_error("the table cannot be read back");
  second.adopt_classes(held->program);
  const auto changes = diff::changes_between(held->program, second.program());
  report("elements written, " + std::to_string(held->program.element_count()) + " held",
         std::to_string(changes.operations()), "0", changes.operations() == 0);
  report("read back, adopted, compared", text((wall_us() - before) / 1000, "%.0f ms"), "(shown)", true);
}

int all(const char* podfence) {
  std::puts("podfence_bench: ratios and counts of one run; times are this machine's");
  connection_rates();
  pod_events();
  policy_events();
  restart();
  if (podfence != nullptr) agent_figures(podfence, in_short);
  std::puts("\npodfence_bench: done");
  return 0;
}

}  // namespace
}  // namespace podfence::bench

int main(int argc, char** argv) {
  const char* podfence = nullptr;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--short") == 0) {
      podfence::bench::in_short = true;
    } else {
      podfence = argv[i];
    }
  }
  try {
    return podfence::bench::all(podfence);
  } catch (const std::exception& e) {
    std::cerr << "podfence_bench: " << e.what() << '\n';
    return 1;
  }
}
