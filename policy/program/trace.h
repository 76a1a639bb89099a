#pragma once
// A packet through the Program, rule by rule, without a kernel.
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "policy/net/flow.h"
#include "policy/program/program.h"
#include "policy/program/rule.h"

namespace podfence::program {

/// A packet as the forward hook sees it. For a reply, source and destination are those of the packet, not of the flow.
struct Packet {
  net::IpAddr source;
  net::IpAddr destination;
  net::Protocol protocol;
  net::Port source_port;
  net::Port destination_port;
  bool established = false;  // conntrack state established or related
  bool labelled = false;     // the flow's label bit is set
  bool reply = false;        // conntrack direction reply
  std::uint8_t icmp_type = 0;
  std::uint32_t priority = 0;  // skb->priority on entry: a sender can choose it
};

/// The first packet of a flow, from an ephemeral port.
Packet first_packet(const net::Flow& flow);
/// A packet of its answer: established, source and destination changed places, not labelled.
Packet reply_packet(const net::Flow& flow);

struct Trace {
  bool accepted = true;
  bool labels_flow = false;         // the flow's label bit gets set
  std::string log_prefix;           // of a dropped packet
  ClassId egress_class = no_class;  // class of the remote end when egress, ingress was judged
  ClassId ingress_class = no_class;
  std::vector<std::string> path;  // "chain: rule" of every rule that matched, in order, when asked for
};

/// The rules for some options, prepared for many packets. Immutable.
class Tracer {
 public:
  explicit Tracer(const Options& options);
  /// The elements are the program's; its options do not matter here.
  Trace run(const Program& program, const Packet& packet, bool with_path = false) const;

 private:
  struct Position {
    std::size_t chain = 0;
    std::size_t rule = 0;
  };
  struct State;
  enum class Next : std::uint8_t { go_on, next_rule, changed_chain, done };

  Next step(const Statement& statement, State& state) const;
  bool matches(const Statement& statement, State& state) const;
  Next enter(const std::string& chain, State& state, bool come_back) const;
  static Next leave(State& state);

  std::vector<Chain> chains_;
  std::map<std::string, std::size_t, std::less<>> by_name_;
};

/// Limits on logging do not match in a trace: they decide what is logged, never what passes.
Trace trace(const Program& program, const Packet& packet, bool with_path = false);

}  // namespace podfence::program
