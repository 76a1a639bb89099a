#pragma once
// What has to happen to one cluster so that it becomes another.
#include <vector>

#include "policy/store/cluster.h"

namespace podfence::store {

/// Applied to `from` it equals `to`. What both have alike is not in it.
std::vector<Event> difference(const Cluster& from, const Cluster& to);

}  // namespace podfence::store
