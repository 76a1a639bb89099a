#pragma once
// From a world in which something fails to a small one in which it still does.
#include <functional>

#include "tests/support/random_world.h"

namespace podfence::test {

/// `fails` must hold for `world`. Drops objects, rules, peers, ports, exceptions, requirements, labels and addresses
/// one by one for as long as it still fails.
World shrunk(World world, const std::function<bool(const World&)>& fails);

}  // namespace podfence::test
