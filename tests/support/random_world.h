#pragma once
// Small, dense clusters made at random, in which most of what can go wrong does: shared addresses, host network,
// terminal pods, named ports on differing numbers, blocks with holes, both families, pod ranges that hold strangers.
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "policy/api/objects.h"
#include "policy/net/flow.h"
#include "policy/store/cluster.h"

namespace podfence::test {

using Random = std::mt19937_64;

struct World {
  std::string node = "n1";  // that judges
  bool fail_closed = true;
  std::vector<api::Object> objects;
};

World random_world(Random& random);

/// A change of a world: objects come, go and are replaced. The events, and what they leave of `world`.
std::vector<store::Event> random_step(Random& random, World& world);

store::Cluster cluster_of(const World& world);

/// Flows that tell rules apart: every pair of addresses of one family, in the cluster and outside, with ports that are
/// named by a rule or lie beside one. With `per_pair`, that many for each pair at random; else all. Of pairs that the
/// node has nothing to do with, just a few.
std::vector<net::Flow> flows_in(const World& world, Random& random, std::size_t per_pair);

/// The seed of this run: PODFENCE_SEED, else a new one each time; and a count: the variable, else what is given.
std::uint64_t seed_of_run();
std::size_t count_from_env(const char* variable, std::size_t otherwise);

}  // namespace podfence::test
