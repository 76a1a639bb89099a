#include "policy/program/observe.h"

namespace podfence::program {
namespace {

using net::Direction;
using net::Family;

constexpr std::string_view first_chain = "first";
constexpr std::string_view limit_chain = "observe_limit";

std::string digit(Family f) {
  return f == Family::ipv4 ? "4" : "6";
}

/// A pod's own flows are told apart by its interface, those to it by who began them.
std::string meter_of(Direction d, Family f) {
  return d == Direction::egress ? "sources_out" : "sources_in" + digit(f);
}

std::string chain_of(Direction d, Family f) {
  return (d == Direction::egress ? "allowed_out" : "allowed_in") + digit(f);
}

Chain logging(const ObserveOptions& options, Direction d, Family f) {
  const auto key = d == Direction::egress ? OverSourceRate::Key::input_interface : OverSourceRate::Key::source_address;
  return {chain_of(d, f),
          false,
          {{Count{d == Direction::egress ? "observed_out" : "observed_in"}},
           {OverSourceRate{key, meter_of(d, f), f, options.source_rate, options.source_rate * 2}, Count{"over_source"},
            Accept{}},
           {Jump{std::string(limit_chain)}},
           {Log{observe_log_prefix(d), options.log_group}}}};
}

}  // namespace

std::string observed_set(Family family) {
  return "observed" + digit(family);
}

std::string observe_log_prefix(Direction direction) {
  return direction == Direction::egress ? "pf1:out:allow" : "pf1:in:allow";
}

std::vector<std::string> observe_counter_names() {
  return {"observed_in", "observed_out", "over_source", "over_node"};
}

std::vector<Meter> observe_meters() {
  return {{meter_of(Direction::ingress, Family::ipv4), OverSourceRate::Key::source_address, Family::ipv4},
          {meter_of(Direction::ingress, Family::ipv6), OverSourceRate::Key::source_address, Family::ipv6},
          {meter_of(Direction::egress, Family::ipv4), OverSourceRate::Key::input_interface, Family::ipv4}};
}

/// A flow between two observed pods is logged once, as its sender's.
std::vector<Chain> observe_chains(const ObserveOptions& options) {
  std::vector<Chain> all{{std::string(limit_chain),
                          false,
                          {{OverNodeRate{options.node_rate, options.node_rate * 2}, Count{"over_node"}, Accept{}}}}};
  Chain first{std::string(first_chain), false, {}};
  for (const Direction d : {Direction::egress, Direction::ingress}) {
    const Side side = d == Direction::egress ? Side::source : Side::destination;
    for (const Family f : net::families) {
      all.push_back(logging(options, d, f));
      first.rules.push_back({MatchObserved{side, f}, Goto{chain_of(d, f)}});
    }
  }
  all.push_back(std::move(first));
  all.push_back({std::string(observe_base_chain), true, {{MatchFirstPacket{}, Jump{std::string(first_chain)}}}});
  return all;
}

}  // namespace podfence::program
