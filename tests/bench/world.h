#pragma once
// A cluster of a size that one asks for, shaped like the ones people run: a hundred pods a node, deployments of ten
// replicas, fifty policies a namespace, peers by label, by namespace and by address. The same size gives the same
// world.
#include <cstddef>
#include <string>
#include <vector>

#include "policy/store/cluster.h"

namespace podfence::bench {

inline constexpr std::string_view local_node = "node-0";

struct Size {
  std::size_t pods = 1000;
  std::size_t policies = 100;
};

/// Namespaces, nodes, pods and policies; the pods of local_node are spread over the namespaces.
std::vector<store::Event> world(Size size);

/// One more pod beside them: on another node, of a deployment that has replicas already.
api::Pod one_more_pod(Size size, std::size_t serial);

/// One more policy whose peers follow existing borders: it selects local pods and admits an app that others admit too.
api::NetworkPolicy one_more_policy(std::size_t serial);

/// A policy that selects no pod yet, of a namespace of its own, whose peer is every pod of one app in any namespace;
/// and the pod of local_node that makes it, and so all these pods, matter.
api::NetworkPolicy wide_policy();
api::Pod pod_of_wide_policy();

/// The same world as kubectl would print it: one List as JSON.
std::string manifest(const std::vector<store::Event>& events);

}  // namespace podfence::bench
