#pragma once
// The incremental compiler: a value that takes changes of the cluster and gives changes of the kernel. A pod or a
// policy costs what it touches, never a recompile of the world. Its laws (tested on random histories):
//   program() equals compile(cluster(), settings(), attached()) up to the numbering of classes;
//   applying every Changes it gave, in order, to the Program it started from gives program().
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "policy/compile/compile.h"
#include "policy/compile/policy_set.h"
#include "policy/diff/changes.h"
#include "policy/store/cluster.h"

namespace podfence::compile {

class Compiler {
 public:
  explicit Compiler(Settings settings);
  ~Compiler();
  Compiler(Compiler&&) noexcept;
  Compiler& operator=(Compiler&&) noexcept;

  /// Takes a batch of events and gives what the kernel has to change: one transaction.
  diff::Changes apply(std::vector<store::Event> events);

  /// The addresses that are plugged in on this node now, instead of those of the last call.
  diff::Changes attach(std::span<const net::IpAddr> addresses);

  /// At start, after the first full apply: takes over the class numbers that the kernel has, by majority of members, so
  /// that an unchanged world differs in nothing. Returns how many classes kept a number of the kernel.
  std::size_t adopt_classes(const program::Program& kernel);

  const store::Cluster& cluster() const;
  const Settings& settings() const;
  const std::vector<net::IpAddr>& attached() const;  // sorted
  program::Program program() const;

  /// The policies that isolate pods of this node now, by the number under which the kernel counts what they deny.
  std::map<program::TallyKey, PolicySet> policy_sets() const;
  /// Changes whenever policy_sets() may have.
  std::uint64_t policy_sets_version() const;

  struct Sizes {
    std::size_t local_pods = 0;
    std::size_t relevant_policies = 0;  // that select a pod of this node
    std::size_t peer_specs = 0;
    std::size_t classes = 0;
  };
  Sizes sizes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace podfence::compile
