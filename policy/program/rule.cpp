#include "policy/program/rule.h"

#include <array>

namespace podfence::program {
namespace {

using net::Direction;
using net::Family;

std::string_view short_name(Direction d) {
  return d == Direction::ingress ? "in" : "out";
}

std::string with_family(std::string name, Family f) {
  return std::move(name) += f == Family::ipv4 ? '4' : '6';
}

/// denied_in4, denied_out_reply6, unknown_in4
std::string deny_chain(Direction d, Why why, Family f) {
  const std::string direction(short_name(d));
  switch (why) {
    case Why::policy:
      return with_family("denied_" + direction, f);
    case Why::reply:
      return with_family("denied_" + direction + "_reply", f);
    case Why::unknown:
      return with_family("unknown_" + direction, f);
  }
  return {};
}

/// judge4, ingress_reply6
std::string way_chain(std::string_view name, bool reply, Family f) {
  return with_family(std::string(name) + (reply ? "_reply" : ""), f);
}

std::string meter_of(Direction d, Family f) {
  return d == Direction::egress ? "sources_out" : with_family("sources_in", f);
}

Rule allow(const Options& options) {
  return {ClearClass{}, SetLabel{options.label_bit}, Accept{}};
}

Rule join(Rule first, const Rule& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

/// The ends of a packet. In one of the reply direction source and destination have changed places.
struct Ends {
  bool reply;
  Side originator = reply ? Side::destination : Side::source;
  Side responder = reply ? Side::source : Side::destination;
  [[nodiscard]] Side local(Direction d) const { return d == Direction::egress ? originator : responder; }
  [[nodiscard]] Side remote(Direction d) const { return d == Direction::egress ? responder : originator; }
};

/// A limit counts for the rule that holds it, so one for the node must be one rule that all denied packets pass.
constexpr std::string_view node_limit_chain = "node_limit";

Chain node_limit(const Options& options) {
  return {std::string(node_limit_chain),
          false,
          {{OverNodeRate{options.log_node_rate, options.log_node_rate * 2}, Count{"over_node"}, Drop{}}}};
}

/// A pod reaches itself whatever policies say. Every other packet is counted, then logged within the rates: an ingress
/// flood is told apart by its source address, an egress flood by its pod's interface, for which there is one and whose
/// source address may be forged.
/// Denied packets of isolated pods are counted once more by the policies that isolate them.
Chain denied(const Options& options, Direction d, Why why, Family f) {
  const std::string counter = std::string(why == Why::unknown ? "unknown_" : "denied_").append(short_name(d));
  const auto key = d == Direction::ingress ? OverSourceRate::Key::source_address : OverSourceRate::Key::input_interface;
  const OverSourceRate source_rate{key, meter_of(d, f), f, options.log_source_rate, options.log_source_rate * 2};
  Chain chain{deny_chain(d, why, f), false, {{ClearClass{}}}};
  if (why != Why::unknown) {
    chain.rules.push_back(join({MatchSelf{{Shape::self, Direction::ingress, f}}}, allow(options)));
  }
  chain.rules.push_back({Count{counter}});
  if (why != Why::unknown) {
    const Ends ends{why == Why::reply};
    chain.rules.push_back({LoadClass{ends.local(d), {Shape::policies, d, f}}, CountClass{tally_of(d)}});
  }
  chain.rules.push_back({source_rate, Count{"over_source"}, Drop{}});
  chain.rules.push_back({Jump{std::string(node_limit_chain)}});
  chain.rules.push_back({Log{log_prefix(d, why), options.log_group}});
  chain.rules.push_back({Drop{}});
  return chain;
}

/// An address of this node's pod ranges that is no known pod's. Known first: most addresses here are, and it is a hash.
Rule refuse_unknown(Side side, Family f) {
  const Direction d = side == Side::source ? Direction::egress : Direction::ingress;
  return {MatchAddress{side, {Shape::known, Direction::ingress, f}, true},
          MatchAddress{side, {Shape::managed, Direction::ingress, f}}, Goto{deny_chain(d, Why::unknown, f)}};
}

/// One side's question: the class of the remote end, then the tuples, the most specific first. Both ways end here: the
/// packet is denied, or goes on to the other side's question, or is allowed.
Chain judging(const Options& options, Direction d, bool reply, Family f) {
  const Ends ends{reply};
  const Rule admitted = d == Direction::egress ? Rule{Goto{way_chain("egress_admitted", reply, f)}} : allow(options);
  const auto tuple = [&](Shape shape) { return MatchTuple{ends.local(d), ends.responder, {shape, d, f}}; };
  const LoadClass peer{ends.remote(d), {Shape::peer_class, d, f}};
  Chain chain{way_chain(net::name_of(d), reply, f), false, {}};
  if (d == Direction::ingress) chain.rules.push_back(refuse_unknown(ends.originator, f));
  chain.rules.push_back({ClearClass{}});
  chain.rules.push_back(join({peer, tuple(Shape::class_port)}, admitted));
  chain.rules.push_back({ClearClass{}});
  chain.rules.push_back({LoadClass{ends.remote(d), {Shape::cidr_class, d, f}}});
  chain.rules.push_back({peer});
  for (const Shape shape : {Shape::class_port, Shape::class_range, Shape::class_protocol, Shape::class_any,
                            Shape::all_port, Shape::all_range, Shape::all_protocol, Shape::all_any}) {
    chain.rules.push_back(join({tuple(shape)}, admitted));
  }
  chain.rules.push_back({Goto{deny_chain(d, reply ? Why::reply : Why::policy, f)}});
  return chain;
}

/// The chains of one direction of flows. An isolated side is a known pod's, so its address needs no further look-up.
/// Both sides are judged before the flow is called allowed. A flow with no isolated side goes on without the label, so
/// that a policy which comes later judges it.
void add_judge(std::vector<Chain>& all, const Options& options, bool reply, Family f) {
  const Ends ends{reply};
  const SetId out{Shape::isolated, Direction::egress, f};
  const SetId in{Shape::isolated, Direction::ingress, f};
  const std::string egress = way_chain("egress", reply, f);
  const std::string ingress = way_chain("ingress", reply, f);
  all.push_back(judging(options, Direction::ingress, reply, f));
  all.push_back(
      {way_chain("egress_admitted", reply, f),
       false,
       {{MatchAddress{ends.responder, in}, Goto{ingress}}, refuse_unknown(ends.responder, f), allow(options)}});
  all.push_back(judging(options, Direction::egress, reply, f));
  Chain judge{way_chain("judge", reply, f), false, {}};
  if (!reply) judge.rules.push_back({MatchReply{}, Goto{way_chain("judge", true, f)}});
  judge.rules.push_back({MatchAddress{ends.originator, out}, Goto{egress}});
  judge.rules.push_back({MatchAddress{ends.responder, in}, Goto{ingress}});
  judge.rules.push_back(refuse_unknown(Side::source, f));
  judge.rules.push_back(refuse_unknown(Side::destination, f));
  all.push_back(std::move(judge));
}

Chain forward(const Options& options) {
  return {std::string(base_chain_name),
          true,
          {{MatchEstablished{options.label_bit}, Accept{}},
           {MatchFamily{Family::ipv4}, Goto{"judge4"}},
           {MatchNeighbourDiscovery{}, Accept{}},
           {MatchFamily{Family::ipv6}, Goto{"judge6"}}}};
}

}  // namespace

std::string log_prefix(Direction direction, Why why) {
  std::string prefix = std::string("pf1:").append(short_name(direction));
  switch (why) {
    case Why::policy:
      return prefix += ":policy";
    case Why::reply:
      return prefix += ":reply";
    case Why::unknown:
      return prefix += ":unknown";
  }
  return prefix;
}

std::string tally_of(Direction direction) {
  return std::string("denied_by_").append(short_name(direction));
}

std::vector<std::string> counter_names() {
  return {"denied_in", "denied_out", "unknown_in", "unknown_out", "over_source", "over_node"};
}

std::vector<Meter> meters() {
  return {{meter_of(Direction::ingress, Family::ipv4), OverSourceRate::Key::source_address, Family::ipv4},
          {meter_of(Direction::ingress, Family::ipv6), OverSourceRate::Key::source_address, Family::ipv6},
          {meter_of(Direction::egress, Family::ipv4), OverSourceRate::Key::input_interface, Family::ipv4}};
}

std::vector<Chain> chains(const Options& options) {
  std::vector<Chain> all{node_limit(options)};
  for (const Family f : net::families) {
    for (const Direction d : net::directions) {
      for (const Why why : whys) all.push_back(denied(options, d, why, f));
    }
    add_judge(all, options, true, f);
    add_judge(all, options, false, f);
  }
  all.push_back(forward(options));
  return all;
}

}  // namespace podfence::program
