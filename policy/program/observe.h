#pragma once
// The second, small table: which allowed flows are logged. Its only base chain stands behind that of the program, so it
// sees what that one let through, and it has no verdict but accept: whatever happens in it, the program's verdicts and
// their account are as without it. It exists only where somebody observes.
//
//   observe ─► first packet of a flow? ─► of an observed pod? ─► count, within the rates log, accept
//
// A packet is the first of its flow while conntrack has not confirmed the flow: exactly one for each flow that gets
// through, whatever is sent again before an answer comes.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "policy/program/rule.h"

namespace podfence::program {

struct ObserveOptions {
  std::uint16_t log_group = 4022;   // its own: what is lost of it must not be counted as lost of denied packets
  std::uint32_t source_rate = 100;  // logged flows per second and pod, or source; burst is twice that
  std::uint32_t node_rate = 2000;   // in all
  friend bool operator==(const ObserveOptions&, const ObserveOptions&) = default;
};

inline constexpr std::string_view observe_table_name = "podfence_observe";
inline constexpr std::string_view observe_base_chain = "observe";
inline constexpr std::int32_t observe_priority = 1;  // behind the program's, which is filter, 0

/// "observed4": addresses of pods whose flows are logged.
std::string observed_set(net::Family family);

/// observed_in + observed_out = first packets of allowed flows; over_* of these without a log message.
std::vector<std::string> observe_counter_names();
std::vector<Meter> observe_meters();
/// As chains(): every jump finds its target before it, the base chain is the last.
std::vector<Chain> observe_chains(const ObserveOptions& options);

/// "pf1:in:allow"
std::string observe_log_prefix(net::Direction direction);

}  // namespace podfence::program
