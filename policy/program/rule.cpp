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

/// ingress4, egress_reply6
std::string judge_chain(Direction d, bool reply, Family f) {
  return with_family(std::string(net::name_of(d)) + (reply ? "_reply" : ""), f);
}

std::string meter_of(Direction d, Family f) {
  return d == Direction::egress ? "sources_out" : with_family("sources_in", f);
}

Chain allowed_chain(const Options& options) {
  return {"allowed", false, {{ClearClass{}, SetLabel{options.label_bit}, Accept{}}}};
}

/// A limit counts for the rule that holds it, so one for the node must be one rule that all denied packets pass.
constexpr std::string_view node_limit_chain = "node_limit";

Chain node_limit(const Options& options) {
  return {std::string(node_limit_chain),
          false,
          {{OverNodeRate{options.log_node_rate, options.log_node_rate * 2}, Count{"over_node"}, Drop{}}}};
}

/// Counts every packet, then logs what is within the rates: an ingress flood is told apart by its source address, an
/// egress flood by its pod's interface, for which there is one and whose source address may be forged.
Chain denied(const Options& options, Direction d, Why why, Family f) {
  const std::string counter = std::string(why == Why::unknown ? "unknown_" : "denied_").append(short_name(d));
  const auto key = d == Direction::ingress ? OverSourceRate::Key::source_address : OverSourceRate::Key::input_interface;
  const OverSourceRate source_rate{key, meter_of(d, f), f, options.log_source_rate, options.log_source_rate * 2};
  return {deny_chain(d, why, f),
          false,
          {{ClearClass{}},
           {Count{counter}},
           {source_rate, Count{"over_source"}, Drop{}},
           {Jump{std::string(node_limit_chain)}},
           {Log{log_prefix(d, why), options.log_group}},
           {Drop{}}}};
}

/// One side's question: the class of the remote end, then the tuples, the most specific first. Returns when allowed.
/// In a packet of the reply direction source and destination have changed places.
Chain judging(Direction d, bool reply, Family f) {
  const bool local_is_source = (d == Direction::egress) != reply;
  const Side local = local_is_source ? Side::source : Side::destination;
  const Side remote = local_is_source ? Side::destination : Side::source;
  const Side port_side = reply ? Side::source : Side::destination;
  Chain chain{judge_chain(d, reply, f), false, {}};
  chain.rules.push_back({ClearClass{}});
  chain.rules.push_back({LoadClass{remote, {Shape::cidr_class, d, f}}});
  chain.rules.push_back({LoadClass{remote, {Shape::peer_class, d, f}}});
  for (const Shape shape : {Shape::class_port, Shape::class_range, Shape::class_protocol, Shape::class_any,
                            Shape::all_port, Shape::all_range, Shape::all_protocol, Shape::all_any}) {
    chain.rules.push_back({MatchTuple{local, port_side, {shape, d, f}}, Return{}});
  }
  chain.rules.push_back({Goto{deny_chain(d, reply ? Why::reply : Why::policy, f)}});
  return chain;
}

/// Both sides are judged before the flow is called allowed. A flow with no isolated side goes on without the label, so
/// that a policy which comes later judges it.
std::vector<Rule> both_sides(bool reply, Family f) {
  const SetId out{Shape::isolated, Direction::egress, f};
  const SetId in{Shape::isolated, Direction::ingress, f};
  const Side originator = reply ? Side::destination : Side::source;
  const Side responder = reply ? Side::source : Side::destination;
  return {{MatchAddress{originator, out}, Jump{judge_chain(Direction::egress, reply, f)}},
          {MatchAddress{responder, in}, Jump{judge_chain(Direction::ingress, reply, f)}},
          {MatchAddress{originator, out}, Goto{"allowed"}},
          {MatchAddress{responder, in}, Goto{"allowed"}}};
}

Chain judge(Family f) {
  const SetId managed{Shape::managed, Direction::ingress, f};
  const SetId known{Shape::known, Direction::ingress, f};
  Chain chain{with_family("judge", f), false, {}};
  if (f == Family::ipv6) chain.rules.push_back({MatchNeighbourDiscovery{}, Accept{}});
  chain.rules.push_back({MatchSelf{{Shape::self, Direction::ingress, f}}, Accept{}});
  chain.rules.push_back({MatchAddress{Side::source, managed}, MatchAddress{Side::source, known, true},
                         Goto{deny_chain(Direction::egress, Why::unknown, f)}});
  chain.rules.push_back({MatchAddress{Side::destination, managed}, MatchAddress{Side::destination, known, true},
                         Goto{deny_chain(Direction::ingress, Why::unknown, f)}});
  chain.rules.push_back({MatchReply{}, Goto{with_family("reply", f)}});
  for (Rule& rule : both_sides(false, f)) chain.rules.push_back(std::move(rule));
  return chain;
}

Chain forward(const Options& options) {
  return {"forward",
          true,
          {{MatchEstablished{options.label_bit}, Accept{}},
           {MatchFamily{Family::ipv4}, Goto{with_family("judge", Family::ipv4)}},
           {MatchFamily{Family::ipv6}, Goto{with_family("judge", Family::ipv6)}}}};
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

std::vector<std::string> counter_names() {
  return {"denied_in", "denied_out", "unknown_in", "unknown_out", "over_source", "over_node"};
}

std::vector<Meter> meters() {
  return {{meter_of(Direction::ingress, Family::ipv4), OverSourceRate::Key::source_address, Family::ipv4},
          {meter_of(Direction::ingress, Family::ipv6), OverSourceRate::Key::source_address, Family::ipv6},
          {meter_of(Direction::egress, Family::ipv4), OverSourceRate::Key::input_interface, Family::ipv4}};
}

std::vector<Chain> chains(const Options& options) {
  std::vector<Chain> all{allowed_chain(options), node_limit(options)};
  for (const Family f : net::families) {
    for (const Direction d : net::directions) {
      for (const Why why : whys) all.push_back(denied(options, d, why, f));
      all.push_back(judging(d, false, f));
      all.push_back(judging(d, true, f));
    }
    all.push_back({with_family("reply", f), false, both_sides(true, f)});
    all.push_back(judge(f));
  }
  all.push_back(forward(options));
  return all;
}

}  // namespace podfence::program
