#pragma once
// The plugin: one CNI command, from the environment and standard input to standard output and a status.
#include <istream>
#include <ostream>

#include "cni/agent_client.h"
#include "cni/env.h"
#include "cni/host.h"

namespace podfence::cni {

/// 0 on success; else 1, and the specification's error object on `out`. Nothing but results goes to `out`; `err` is for
/// people. Never throws.
int run(const Env& env, std::istream& in, std::ostream& out, std::ostream& err, Agent& agent, Host& host);

}  // namespace podfence::cni
