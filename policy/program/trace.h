#pragma once
// A packet through the Program, rule by rule, without a kernel.
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

/// The first packet of a flow.
Packet first_packet(const net::Flow& flow);

struct Trace {
  bool accepted = true;
  bool labels_flow = false;         // the flow's label bit gets set
  std::string log_prefix;           // of a dropped packet
  ClassId egress_class = no_class;  // class of the remote end when egress, ingress was judged
  ClassId ingress_class = no_class;
  std::vector<std::string> path;  // "chain: rule" of every rule that matched, in order, when asked for
};

Trace trace(const Program& program, const Packet& packet, bool with_path = false);

}  // namespace podfence::program
