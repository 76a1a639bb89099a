#pragma once
// One direction of one pod of this node: what its policies admit, and the tuples that come of it. It keeps what it has
// in the kernel, so that a change costs the difference.
#include <array>
#include <vector>

#include "policy/compile/change_sink.h"
#include "policy/compile/class_table.h"
#include "policy/compile/policy_set.h"
#include "policy/compile/port_pool.h"
#include "policy/compile/relevant_policies.h"

namespace podfence::compile {

using Addresses = std::vector<net::IpAddr>;

class Subject {
 public:
  /// What does not change from call to call.
  struct Context {
    net::Direction direction;
    const ClassTable& classes;
    PortPool& pool;
    std::uint32_t split_ports;
  };

  /// Other policies, or another pod under the same name. Returns whether that changes what is admitted to whom.
  bool bind(const Context& context, const api::Pod* pod, const std::vector<const RelevantPolicy*>& policies);
  /// All tuples anew, from those that the addresses `before` had to those that `now` should have.
  void rebuild(const Context& context, const Addresses& before, const Addresses& now, ChangeSink& sink);
  /// Only those of the classes that changed.
  void update(const Context& context, const Addresses& addresses, const std::vector<SlotId>& changed, ChangeSink& sink);

  void append_to(program::Program& program, const Context& context, const Addresses& addresses) const;

 private:
  /// What one peer may do.
  struct Entry {
    SpecId peer = 0;
    PortSetRef ports = nullptr;
    std::optional<net::Protocol> peer_port;
    friend bool operator==(const Entry&, const Entry&) = default;
  };
  struct Terms {
    program::ClassId policies = program::no_class;  // that isolate it; no_class: none does
    PortSetRef all = nullptr;                       // to every address
    std::vector<Entry> entries;                     // sorted by peer
    friend bool operator==(const Terms&, const Terms&) = default;
  };
  using Tuple = std::pair<SlotId, PortSetRef>;
  using Tuples = std::vector<Tuple>;  // sorted by slot, no empty sets

  static Terms terms_of(const Context& context, const api::Pod& pod,
                        const std::vector<const RelevantPolicy*>& policies);
  static void release(const Terms& terms, PortPool& pool);
  PortSetRef admitted(const Context& context, SlotId slot) const;
  Tuples tuples_for(const Context& context, net::Family family) const;

  Terms terms_;
  /// What is in the kernel: for each family that the pod has addresses of.
  program::ClassId policies_ = program::no_class;
  PortSetRef all_ = nullptr;
  std::array<Tuples, 2> tuples_;
};

}  // namespace podfence::compile
