#pragma once
// The constant rules as data. print.cpp (nft text), trace.cpp (a packet through them) and the netlink encoder are three
// visitors of the same closed set of statements: a new one is a compile error in all three until it is handled.
#include <string>
#include <variant>
#include <vector>

#include "policy/program/program.h"

namespace podfence::program {

/// Which address of the packet.
enum class Side : std::uint8_t { source, destination };

/// ct state new ct status ! confirmed: no packet of this flow has got through yet. Of the table in observe.h only.
struct MatchFirstPacket {};
/// ip saddr @observed4: of the table in observe.h only
struct MatchObserved {
  Side side;
  net::Family family;
};
/// ct state established,related ct label BIT: in this order, for a new connection has no label to be loaded
struct MatchEstablished {
  std::uint8_t label_bit;
};
/// ct direction reply
struct MatchReply {};
/// meta nfproto
struct MatchFamily {
  net::Family family;
};
/// icmpv6 type 133-137: router and neighbour solicitation and advertisement, redirect
struct MatchNeighbourDiscovery {};
/// ip saddr @set / ip saddr != @set
struct MatchAddress {
  Side side;
  SetId set;
  bool negated = false;
};
/// ip saddr . ip daddr @set
struct MatchSelf {
  SetId set;
};
/// A look-up in a class_* or all_* set: [meta priority .] ADDRESS [. meta l4proto [. th PORT]] @set
struct MatchTuple {
  Side local;      // which address is the local pod's
  Side port_side;  // destination = th dport, source = th sport (a reply)
  SetId set;
};
/// meta priority set 0:0
struct ClearClass {};
/// meta priority set ADDRESS map @set; a miss leaves it as it was and the packet goes on with the next rule
struct LoadClass {
  Side side;
  SetId set;
};
/// ct label set BIT
struct SetLabel {
  std::uint8_t bit;
};
/// counter name NAME
struct Count {
  std::string counter;
};
/// add @TALLY { meta priority counter }: counts under the number that was loaded. A full set goes on to the next rule.
struct CountClass {
  std::string tally;
};
/// add @METER { KEY timeout 1m limit rate over N/second burst M packets }: goes on when the source is over its rate.
/// A full set goes on to the next rule, so a source without room is still counted and limited there.
struct OverSourceRate {
  enum class Key : std::uint8_t { source_address, input_interface } key;
  std::string meter;
  net::Family family;  // of the address
  std::uint32_t rate;
  std::uint32_t burst;
};
/// limit rate over N/second burst M packets
struct OverNodeRate {
  std::uint32_t rate;
  std::uint32_t burst;
};
/// log prefix "..." group G snaplen 128
struct Log {
  std::string prefix;
  std::uint16_t group;
};
struct Accept {};
struct Drop {};
struct Jump {
  std::string chain;
};
struct Goto {
  std::string chain;
};

using Statement =
    std::variant<MatchEstablished, MatchReply, MatchFamily, MatchNeighbourDiscovery, MatchAddress, MatchSelf,
                 MatchTuple, ClearClass, LoadClass, SetLabel, Count, CountClass, OverSourceRate, OverNodeRate, Log,
                 Accept, Drop, Jump, Goto, MatchFirstPacket, MatchObserved>;

using Rule = std::vector<Statement>;

struct Chain {
  std::string name;
  bool base = false;  // type filter hook forward priority filter; policy accept
  std::vector<Rule> rules;
};

/// A dynamic set that limits logging for each source; not part of a Program, its elements come and go with packets.
struct Meter {
  std::string name;
  OverSourceRate::Key key;
  net::Family family;
};
inline constexpr std::uint32_t meter_size = 4096;

/// A dynamic set of numbers, each with a counter, which the first packet of a number makes; not part of a Program.
/// "denied_by_in": denied packets by the number in in_policies4 and in_policies6.
std::string tally_of(net::Direction direction);
inline constexpr std::uint32_t tally_size = 4096;  // numbers; this node's pods have a few hundred at most
inline constexpr std::uint32_t meter_timeout_seconds = 60;
inline constexpr std::uint32_t log_snaplen = 128;  // bytes: IPv6 header, extension headers, TCP header

/// Why a packet was dropped, as the log prefix "pf1:in:policy" tells it.
enum class Why : std::uint8_t {
  policy,   // no rule of the policies that isolate the pod admits it
  reply,    // the same for a packet of the reply direction: the flow was allowed once and is not any more
  unknown,  // an address of this node's pod ranges that no known pod owns
};
inline constexpr std::array<Why, 3> whys{Why::policy, Why::reply, Why::unknown};

/// "pf1:in:policy", "pf1:out:reply"
std::string log_prefix(net::Direction direction, Why why);

inline constexpr std::string_view table_name = "podfence";
inline constexpr std::string_view base_chain_name = "forward";

/// Named counters. denied_in + denied_out + unknown_in + unknown_out = every packet dropped, exactly; of these,
/// over_source and over_node were dropped without a log message.
std::vector<std::string> counter_names();
std::vector<Meter> meters();
/// Chains in an order in which every jump finds its target before it. The base chain is the last.
std::vector<Chain> chains(const Options& options);

}  // namespace podfence::program
