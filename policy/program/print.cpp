#include "policy/program/print.h"

#include <algorithm>
#include <array>
#include <span>

#include "policy/base/overloaded.h"
#include "policy/program/observe.h"

namespace podfence::program {
namespace {

using net::Family;

std::string address_words(Side side, Family f) {
  return std::string(f == Family::ipv4 ? "ip " : "ip6 ") + (side == Side::source ? "saddr" : "daddr");
}

std::string set_words(SetId set) {
  return std::string("@").append(name_of(set));
}

std::string tuple_words(const MatchTuple& match) {
  std::string text = has_class_key(match.set.shape) ? "meta priority . " : "";
  text += address_words(match.local, match.set.family);
  if (has_protocol(match.set.shape)) text += " . meta l4proto";
  if (has_port(match.set.shape)) text += match.port_side == Side::source ? " . th sport" : " . th dport";
  return text + " " + set_words(match.set);
}

std::string rate_words(std::uint32_t rate, std::uint32_t burst) {
  return "limit rate over " + std::to_string(rate) + "/second burst " + std::to_string(burst) + " packets";
}

std::string source_rate_words(const OverSourceRate& s) {
  const std::string key =
      s.key == OverSourceRate::Key::source_address ? address_words(Side::source, s.family) : std::string("iif");
  return "add @" + s.meter + " { " + key + " timeout 1m " + rate_words(s.rate, s.burst) + " }";
}
static_assert(meter_timeout_seconds == 60, "source_rate_words() says 1m");

std::string log_words(const Log& log) {
  return "log prefix \"" + log.prefix + "\" group " + std::to_string(log.group) + " snaplen " +
         std::to_string(log_snaplen);
}

std::string text_of_statement(const Statement& statement) {
  return std::visit(
      overloaded{
          [](const MatchEstablished& s) {
            return "ct state established,related ct label " + std::to_string(s.label_bit);
          },
          [](const MatchReply&) { return std::string("ct direction reply"); },
          [](const MatchFamily& s) {
            return std::string("meta nfproto ") + (s.family == Family::ipv4 ? "ipv4" : "ipv6");
          },
          [](const MatchNeighbourDiscovery&) { return std::string("icmpv6 type 133-137"); },
          [](const MatchAddress& s) {
            return address_words(s.side, s.set.family) + (s.negated ? " != " : " ") + set_words(s.set);
          },
          [](const MatchSelf& s) {
            return address_words(Side::source, s.set.family) + " . " + address_words(Side::destination, s.set.family) +
                   " " + set_words(s.set);
          },
          [](const MatchTuple& s) { return tuple_words(s); },
          [](const ClearClass&) { return std::string("meta priority set none"); },
          [](const LoadClass& s) {
            return "meta priority set " + address_words(s.side, s.set.family) + " map " + set_words(s.set);
          },
          [](const SetLabel& s) { return "ct label set " + std::to_string(s.bit); },
          [](const Count& s) { return "counter name \"" + s.counter + "\""; },
          [](const CountClass& s) { return "add @" + s.tally + " { meta priority counter }"; },
          [](const OverSourceRate& s) { return source_rate_words(s); },
          [](const OverNodeRate& s) { return rate_words(s.rate, s.burst); },
          [](const Log& s) { return log_words(s); },
          [](const Accept&) { return std::string("accept"); },
          [](const Drop&) { return std::string("drop"); },
          [](const Jump& s) { return "jump " + s.chain; },
          [](const Goto& s) { return "goto " + s.chain; },
          [](const MatchFirstPacket&) { return std::string("ct state new ct status ! confirmed"); },
          [](const MatchObserved& s) { return address_words(s.side, s.family) + " @" + observed_set(s.family); },
      },
      statement);
}

/// nft sorts a listing by the key's bytes read as one little-endian number (the last byte weighs most), the fields
/// without padding; a single address by its value. Compares greater weight first.
struct SortKey {
  std::array<std::uint8_t, 40> bytes{};  // most significant first
  std::size_t size = 0;

  void put(std::uint8_t byte) { bytes[size++] = byte; }
};

SortKey sort_key(SetId set, const Element& e) {
  SortKey key;
  const auto address = e.address.bytes();
  const bool single = !has_class_key(set.shape) && !has_protocol(set.shape) && set.shape != Shape::self;
  if (single) {
    for (const std::uint8_t byte : address) key.put(byte);
    return key;
  }
  if (has_port(set.shape)) {
    key.put(static_cast<std::uint8_t>(e.ports.first.number & 0xffU));
    key.put(static_cast<std::uint8_t>(e.ports.first.number >> 8U));
  }
  if (has_protocol(set.shape)) key.put(e.protocol.number);
  for (std::size_t times = set.shape == Shape::self ? 2 : 1; times > 0; --times) {
    for (auto byte = address.rbegin(); byte != address.rend(); ++byte) key.put(*byte);
  }
  if (has_class_key(set.shape)) {
    for (unsigned shift : {24U, 16U, 8U, 0U}) key.put(static_cast<std::uint8_t>(e.class_id >> shift));
  }
  return key;
}

std::vector<const Element*> in_listing_order(SetId set, const std::vector<Element>& elements) {
  std::vector<std::pair<SortKey, const Element*>> keyed;
  keyed.reserve(elements.size());
  for (const Element& e : elements) keyed.emplace_back(sort_key(set, e), &e);
  std::stable_sort(keyed.begin(), keyed.end(), [](const auto& a, const auto& b) {
    return std::lexicographical_compare(a.first.bytes.begin(), a.first.bytes.end(), b.first.bytes.begin(),
                                        b.first.bytes.end());
  });
  std::vector<const Element*> sorted;
  sorted.reserve(keyed.size());
  for (const auto& [key, element] : keyed) sorted.push_back(element);
  return sorted;
}

/// Two to a line where the key is one IPv4 address, else one.
std::size_t elements_per_line(SetId set) {
  const bool single = !has_class_key(set.shape) && !has_protocol(set.shape) && set.shape != Shape::self;
  return single && set.family == Family::ipv4 ? 2 : 1;
}

void append_set(std::string& out, SetId set, const std::vector<Element>& elements) {
  out.append(is_map(set.shape) ? "\tmap " : "\tset ").append(name_of(set)).append(" {\n");
  out.append("\t\ttype ").append(type_of(set)).append("\n");
  if (is_interval(set.shape)) out += "\t\tflags interval\n";
  if (!elements.empty()) {
    out += "\t\telements = { ";
    const std::size_t per_line = elements_per_line(set);
    std::size_t position = 0;
    for (const Element* e : in_listing_order(set, elements)) {
      if (position > 0) out += position % per_line == 0 ? ",\n\t\t\t     " : ", ";
      out += text_of(set, *e);
      ++position;
    }
    out += " }\n";
  }
  out += "\t}\n\n";
}

void append_meter(std::string& out, const Meter& meter) {
  const bool by_address = meter.key == OverSourceRate::Key::source_address;
  const std::string_view type = !by_address ? "iface_index" : meter.family == Family::ipv4 ? "ipv4_addr" : "ipv6_addr";
  out.append("\tset ").append(meter.name).append(" {\n\t\ttype ").append(type);
  out.append("\n\t\tsize ").append(std::to_string(meter_size)).append("\n\t\tflags dynamic,timeout\n\t}\n\n");
}

void append_tally(std::string& out, const std::string& name) {
  out.append("\tset ").append(name).append(" {\n\t\ttype classid\n\t\tsize ").append(std::to_string(tally_size));
  out.append("\n\t\tflags dynamic\n\t}\n\n");
}

void append_counters(std::string& out, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    out.append("\tcounter ").append(name).append(" {\n\t\tpackets 0 bytes 0\n\t}\n\n");
  }
}

void append_observed(std::string& out, Family family, const std::vector<net::IpAddr>& addresses) {
  const bool v4 = family == Family::ipv4;
  out.append("\tset ").append(observed_set(family)).append(" {\n\t\ttype ").append(v4 ? "ipv4_addr" : "ipv6_addr");
  std::size_t position = 0;
  for (const auto& ip : addresses) {
    if (ip.family() != family) continue;
    out += position == 0 ? "\n\t\telements = { " : position % (v4 ? 2 : 1) == 0 ? ",\n\t\t\t     " : ", ";
    out += ip.text();
    ++position;
  }
  out += position == 0 ? "\n\t}\n\n" : " }\n\t}\n\n";
}

void append_chains(std::string& out, const std::vector<Chain>& chains, std::string_view priority) {
  bool first = true;
  for (const Chain& chain : chains) {
    if (!first) out += '\n';
    first = false;
    out.append("\tchain ").append(chain.name).append(" {\n");
    if (chain.base) out.append("\t\ttype filter hook forward priority ").append(priority).append("; policy accept;\n");
    for (const Rule& rule : chain.rules) out.append("\t\t").append(text_of(rule)).append("\n");
    out += "\t}\n";
  }
}

}  // namespace

std::string text_of(const Rule& rule) {
  std::string text;
  for (const Statement& statement : rule) {
    if (!text.empty()) text += ' ';
    text += text_of_statement(statement);
  }
  return text;
}

std::string print(const Program& program) {
  std::string out = std::string("table inet ").append(table_name).append(" {\n");
  append_counters(out, counter_names());
  for (std::size_t i = 0; i < set_count; ++i) append_set(out, set_at(i), program.sets[i]);
  for (const Meter& meter : meters()) append_meter(out, meter);
  for (const net::Direction d : net::directions) append_tally(out, tally_of(d));
  append_chains(out, chains(program.options), "filter");
  return out += "}\n";
}

/// While nothing is observed there is no base chain.
std::string print_observe(const ObserveOptions& options, const std::vector<net::IpAddr>& addresses) {
  std::string out = std::string("table inet ").append(observe_table_name).append(" {\n");
  append_counters(out, observe_counter_names());
  for (const Family family : net::families) append_observed(out, family, addresses);
  for (const Meter& meter : observe_meters()) append_meter(out, meter);
  auto chains = observe_chains(options);
  if (addresses.empty()) std::erase_if(chains, [](const Chain& chain) { return chain.base; });
  append_chains(out, chains, "filter + 1");
  return out += "}\n";
}
static_assert(observe_priority == 1, "print_observe() says filter + 1");

}  // namespace podfence::program
