#pragma once
// Says in 64 bits what an object holds, so that a change is seen without keeping a second copy of the cluster.
#include <cstdint>

#include "policy/api/objects.h"

namespace podfence::source {

std::uint64_t fingerprint(const api::Object& object);

}  // namespace podfence::source
