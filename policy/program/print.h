#pragma once
// The program in nft's words, byte for byte as nft 1.0.6 lists it: an administrator compares what the agent would load
// with what the kernel holds, and a test does the same.
#include <string>
#include <vector>

#include "policy/net/ip.h"
#include "policy/program/observe.h"
#include "policy/program/program.h"
#include "policy/program/rule.h"

namespace podfence::program {

/// The whole table as `nft list table inet podfence` prints it, counters at zero, meters empty, elements in nft's
/// order; `nft -f` takes it.
std::string print(const Program& program);

/// Likewise `nft list table inet podfence_observe`, of sorted addresses.
std::string print_observe(const ObserveOptions& options, const std::vector<net::IpAddr>& addresses);

/// "ip saddr @out_isolated4 jump egress4"
std::string text_of(const Rule& rule);

}  // namespace podfence::program
