#pragma once
// The plugin may close a pod's host interface while no agent is there to take the pod over (table `netdev
// podfence_deny`, one chain for each direction). The agent opens it once the pod's rules are in force.
#include <string>

#include "policy/base/result.h"

namespace podfence::kernel {

/// Fine when it is not closed.
Result<> lift_closure(const std::string& device);

}  // namespace podfence::kernel
