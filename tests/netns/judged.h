#pragma once
// A cluster as one of its nodes sees it, on the wire: the topology of the node, its program in the kernel, and which
// flows can be packets there.
#include <optional>
#include <string>
#include <vector>

#include "policy/net/flow.h"
#include "policy/program/program.h"
#include "policy/store/cluster.h"
#include "tests/netns/topology.h"

namespace podfence::test {

/// The node's addresses, and a pod for every pod of the node that has an address of its own, alive or not; then one
/// for each other address of its pod ranges that a flow names.
TopologySpec topology_spec(const store::Cluster& cluster, const std::string& node, const std::vector<net::Flow>& flows);

/// Whether a packet of the flow passes that node or one of its ends is the node: both ends are addresses of hosts, in
/// different places.
bool on_the_wire(const Topology& topology, const net::Flow& flow);

enum class Loader {
  netlink,  // NftKernel, as the agent does
  text,     // `nft -f` of the printed program
};

/// Into the namespace that the thread is in. Throws std::runtime_error with the kernel's words.
void load(const program::Program& program, Loader loader = Loader::netlink);

/// Forgets every connection of the namespace that the thread is in.
void flush_conntrack();

/// Zeroed memory that a forked child shares with its parent.
void* shared_memory(std::size_t size);

/// The verdict of real packets, for each flow that is on the wire (others: nothing).
struct WireVerdict {
  bool arrived = false;
  bool answered = false;
};
/// Builds the node in a new namespace, loads the program, sends the first packet of every flow at once. `expected` says
/// which will arrive, to be waited for. The text of the table, as nft lists it, is compared with the printed program.
/// Throws std::runtime_error when something other than a verdict is wrong.
std::vector<std::optional<WireVerdict>> on_real_packets(const TopologySpec& spec, const program::Program& program,
                                                        const std::vector<net::Flow>& flows,
                                                        const std::vector<bool>& expected);

}  // namespace podfence::test
