#include "policy/program/trace.h"

#include "policy/base/overloaded.h"
#include "policy/program/lookup.h"
#include "policy/program/print.h"

namespace podfence::program {
namespace {

constexpr net::Port ephemeral_port{49152};
constexpr std::uint8_t echo_request4 = 8;
constexpr std::uint8_t echo_request6 = 128;
constexpr std::uint8_t first_discovery_type = 133;
constexpr std::uint8_t last_discovery_type = 137;

const net::IpAddr& address_of(const Packet& packet, Side side) {
  return side == Side::source ? packet.source : packet.destination;
}

}  // namespace

Packet first_packet(const net::Flow& flow) {
  Packet packet;
  packet.source = flow.source;
  packet.destination = flow.destination;
  packet.protocol = flow.protocol;
  if (net::has_ports(flow.protocol)) packet.source_port = ephemeral_port;
  packet.destination_port = flow.destination_port;
  if (flow.protocol == net::icmp) packet.icmp_type = echo_request4;
  if (flow.protocol == net::icmpv6) packet.icmp_type = echo_request6;
  return packet;
}

Packet reply_packet(const net::Flow& flow) {
  Packet packet = first_packet(flow);
  std::swap(packet.source, packet.destination);
  std::swap(packet.source_port, packet.destination_port);
  packet.established = true;
  packet.reply = true;
  if (flow.protocol == net::icmp) packet.icmp_type = 0;
  if (flow.protocol == net::icmpv6) packet.icmp_type = echo_request6 + 1;
  return packet;
}

struct Tracer::State {
  const Program& program;
  Packet packet;
  Trace result;
  Position at;
  std::vector<Position> callers;
};

Tracer::Tracer(const Options& options) : chains_(chains(options)) {
  for (std::size_t i = 0; i < chains_.size(); ++i) by_name_[chains_[i].name] = i;
}

Tracer::Next Tracer::enter(const std::string& chain, State& state, bool come_back) const {
  if (come_back) state.callers.push_back({state.at.chain, state.at.rule + 1});
  const auto found = by_name_.find(chain);
  state.at = {found == by_name_.end() ? chains_.size() : found->second, 0};
  return Next::changed_chain;
}

/// Back to the caller of the chain; out of the base chain the policy is accept.
Tracer::Next Tracer::leave(State& state) {
  if (state.callers.empty()) return Next::done;
  state.at = state.callers.back();
  state.callers.pop_back();
  return Next::changed_chain;
}

bool Tracer::matches(const Statement& statement, State& state) const {
  const Packet& packet = state.packet;
  const net::Family family = packet.source.family();
  return std::visit(
      overloaded{
          [&](const MatchEstablished&) { return packet.labelled && packet.established; },
          [&](const MatchReply&) { return packet.reply; },
          [&](const MatchFamily& s) { return s.family == family; },
          [&](const MatchNeighbourDiscovery&) {
            return family == net::Family::ipv6 && packet.protocol == net::icmpv6 &&
                   packet.icmp_type >= first_discovery_type && packet.icmp_type <= last_discovery_type;
          },
          [&](const MatchAddress& s) {
            return s.set.family == family && has_address(state.program, s.set, address_of(packet, s.side)) != s.negated;
          },
          [&](const MatchSelf& s) {
            return packet.source == packet.destination && has_address(state.program, s.set, packet.source);
          },
          [&](const MatchTuple& s) {
            if (s.set.family != family) return false;
            auto& seen =
                s.set.direction == net::Direction::egress ? state.result.egress_class : state.result.ingress_class;
            seen = packet.priority;
            const net::Port port = s.port_side == Side::source ? packet.source_port : packet.destination_port;
            return has_tuple(state.program, s.set, packet.priority, address_of(packet, s.local), packet.protocol, port);
          },
          [](const OverSourceRate&) { return false; },
          [](const OverNodeRate&) { return false; },
          [](const auto&) { return true; },
      },
      statement);
}

Tracer::Next Tracer::step(const Statement& statement, State& state) const {
  if (!matches(statement, state)) return Next::next_rule;
  return std::visit(overloaded{
                        [&](const ClearClass&) {
                          state.packet.priority = no_class;
                          return Next::go_on;
                        },
                        [&](const LoadClass& s) {
                          const auto found = class_of(state.program, s.set, address_of(state.packet, s.side));
                          if (!found) return Next::next_rule;
                          state.packet.priority = *found;
                          return Next::go_on;
                        },
                        [&](const SetLabel&) {
                          state.result.labels_flow = true;
                          return Next::go_on;
                        },
                        [&](const Log& s) {
                          state.result.log_prefix = s.prefix;
                          return Next::go_on;
                        },
                        [&](const Drop&) {
                          state.result.accepted = false;
                          return Next::done;
                        },
                        [](const Accept&) { return Next::done; },
                        [&](const Jump& s) { return enter(s.chain, state, true); },
                        [&](const Goto& s) { return enter(s.chain, state, false); },
                        [](const auto&) { return Next::go_on; },
                    },
                    statement);
}

Trace Tracer::run(const Program& program, const Packet& packet, bool with_path) const {
  State state{program, packet, {}, {chains_.size() - 1, 0}, {}};
  for (;;) {
    if (state.at.chain >= chains_.size() || state.at.rule >= chains_[state.at.chain].rules.size()) {
      if (leave(state) == Next::done) return std::move(state.result);
      continue;
    }
    const Chain& chain = chains_[state.at.chain];
    const Rule& rule = chain.rules[state.at.rule];
    Next next = Next::go_on;
    for (auto s = rule.begin(); s != rule.end() && next == Next::go_on; ++s) next = step(*s, state);
    if (with_path && next != Next::next_rule) state.result.path.push_back(chain.name + ": " + text_of(rule));
    if (next == Next::done) return std::move(state.result);
    if (next != Next::changed_chain) ++state.at.rule;
  }
}

Trace trace(const Program& program, const Packet& packet, bool with_path) {
  static const Tracer usual{Options{}};
  if (program.options == Options{}) return usual.run(program, packet, with_path);
  return Tracer(program.options).run(program, packet, with_path);
}

}  // namespace podfence::program
