#pragma once
// From a cluster to the Program of one node, from scratch, in the plainest way that the design allows. The incremental
// Compiler (compiler.h) must equal it after any history, element for element, up to the numbering of classes.
#include <span>
#include <string>

#include "policy/program/program.h"
#include "policy/store/cluster.h"

namespace podfence::compile {

struct Settings {
  std::string node;          // the node's name: pods with this spec.nodeName are subjects
  program::Options options;  // of the constant rules
  bool fail_closed = true;   // close addresses of the node's spec.podCIDRs that no known pod of this node owns
  /// A port range of at most this many ports becomes single ports; a wider one goes to the interval sets.
  std::uint32_t split_ports = 64;
};

/// `attached`: addresses that were plugged in on this node. Each is closed until a known pod of this node owns it,
/// within the node's ranges or not, and with fail_closed or without (conformance R-01).
program::Program compile(const store::Cluster& cluster, const Settings& settings,
                         std::span<const net::IpAddr> attached = {});

/// The same program with classes renumbered in the order of the first address (ingress and egress each by themselves)
/// that carries them: two programs that differ in class numbers only become equal.
program::Program canonical(program::Program program);

}  // namespace podfence::compile
