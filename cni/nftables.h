#pragma once
// The two things that the plugin asks of nftables itself: is the agent's table there, and a closure of one device for
// the time without an agent: table `netdev podfence_deny`, chains `in-<device>` and `out-<device>` whose policy is
// drop.
#include <string>

#include "policy/base/result.h"

namespace podfence::cni {

Result<bool> agent_table_present();
Result<void> close_device_now(const std::string& device);
Result<void> lift_closure_of(const std::string& device);

}  // namespace podfence::cni
