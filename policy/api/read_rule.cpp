#include <algorithm>
#include <array>
#include <cctype>

#include "policy/api/parts.h"
#include "policy/api/syntax.h"

namespace podfence::api {
namespace {

Nothing nothing(Report& report, const Value& at, std::string why) {
  report.error(at, why);
  return Nothing{std::move(why)};
}

/// "010.0.0.0/8" without the zeros before each number, as old objects may have it (conformance A.10).
std::string without_leading_zeros(std::string_view text) {
  std::string out;
  bool at_start = true;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool digit_follows = i + 1 < text.size() && std::isdigit(static_cast<unsigned char>(text[i + 1])) != 0;
    if (at_start && text[i] == '0' && digit_follows) continue;
    out += text[i];
    at_start = text[i] == '.';
  }
  return out;
}

std::optional<net::Cidr> read_cidr(Report& report, const Value& value) {
  const auto refuse = [&] {
    report.error(value, value.shown() + " is not a CIDR block: expected \"10.0.0.0/8\" or \"2001:db8::/32\"");
    return std::nullopt;
  };
  if (!value.is_string()) return refuse();
  auto cidr = net::Cidr::parse(value.string());
  if (!cidr) cidr = net::Cidr::parse(without_leading_zeros(value.string()));
  if (!cidr) return refuse();
  const auto address = value.string().substr(0, value.string().find('/'));
  const auto written = net::IpAddr::parse(address);
  if (!written || *written != cidr->base()) {
    report.warning(value, value.shown() + " is taken as " + cidr->text());
  }
  return *cidr;
}

Peer read_block(Report& report, const Value& block) {
  if (!report.object(block)) return Nothing{"ipBlock is not a map"};
  const Fields fields = count_fields(block, {"cidr", "except"});
  if (fields.unknown > 0) {
    // Ignored, a misspelt except would admit what the author meant to leave out.
    return nothing(report, block, quote(fields.first_unknown) + " is not a field of ipBlock: expected cidr, except");
  }
  const auto cidr = read_cidr(report, block.get("cidr"));
  const Value except = block.get("except");
  IpBlock out;
  bool good = cidr.has_value();
  if (except.given()) good = report.array(except) && good;
  except.each_item([&](const Value& item) {
    const auto hole = read_cidr(report, item);
    if (hole && cidr && (!cidr->contains(*hole) || hole->length() <= cidr->length())) {
      report.error(item, item.shown() + " is not inside of " + cidr->text() + ", or is all of it");
      good = false;
    }
    good = hole.has_value() && good;
    if (hole) out.except.push_back(*hole);
  });
  if (!good) return Nothing{"ipBlock is not valid"};
  out.cidr = *cidr;
  std::sort(out.except.begin(), out.except.end());
  out.except.erase(std::unique(out.except.begin(), out.except.end()), out.except.end());
  return out;
}

/// The port or range of an entry whose `port` is given.
std::variant<net::PortRange, std::string, Nothing> read_ports(Report& report, const Value& port, const Value& end) {
  if (port.is_string()) {
    if (!is_port_name(port.string())) {
      return nothing(report, port,
                     port.shown() +
                         " is not a port's name: expected at most 15 of a-z, 0-9 and '-' with a letter, "
                         "or a number without quotes");
    }
    if (end.given()) return nothing(report, end, "endPort needs a number as port, not a name");
    return std::string(port.string());
  }
  const auto first = read_port_number(report, port);
  if (!first) return Nothing{"port is not valid"};
  if (!end.given()) return net::PortRange{*first, *first};
  const auto last = read_port_number(report, end);
  if (!last) return Nothing{"endPort is not valid"};
  if (*last < *first) return nothing(report, end, end.shown() + " is less than port " + port.shown());
  return net::PortRange{*first, *last};
}

}  // namespace

std::optional<net::Protocol> read_protocol(Report& report, const Value& protocol) {
  if (!protocol.given()) return net::tcp;
  for (const auto one : {net::tcp, net::udp, net::sctp}) {
    if (protocol.is_string() && protocol.string() == net::text_of(one)) return one;
  }
  report.error(protocol, protocol.shown() + " is not a protocol: expected TCP, UDP or SCTP");
  return std::nullopt;
}

std::optional<net::Port> read_port_number(Report& report, const Value& port) {
  if (port.is_integer() && port.integer() >= 1 && port.integer() <= 65535) {
    return net::Port{static_cast<std::uint16_t>(port.integer())};
  }
  report.error(port, port.shown() + " is not a port: expected a number from 1 to 65535");
  return std::nullopt;
}

PortSpec read_port_spec(Report& report, const Value& entry) {
  PortSpec out;
  if (!entry.is_object()) {
    out.port = nothing(report, entry, entry.shown() + " is not a port entry: expected a map with protocol and port");
    return out;
  }
  const Value port = entry.get("port");
  const Value end = entry.get("endPort");
  const auto protocol = read_protocol(report, entry.get("protocol"));
  const Fields fields = count_fields(entry, {"protocol", "port", "endPort"});
  if (fields.unknown > 0 && !port.given()) {
    // Ignored, a misspelt port would open the whole protocol.
    out.port =
        nothing(report, entry, quote(fields.first_unknown) + " is not a field of a port entry, and port is missing");
  } else if (port.given()) {
    out.port = read_ports(report, port, end);
  } else if (end.given()) {
    out.port = nothing(report, end, "endPort needs port");
  } else {
    out.whole_protocol = true;
  }
  if (fields.unknown > 0 && port.given()) warn_of_unknown(report, entry, {"protocol", "port", "endPort"});
  if (protocol) {
    out.protocol = *protocol;
  } else {
    out.whole_protocol = false;
    out.port = Nothing{"protocol is not valid"};
  }
  return out;
}

Peer read_peer(Report& report, const Value& peer) {
  if (!peer.is_object()) {
    return nothing(report, peer,
                   peer.shown() + " is not a peer: expected a map with podSelector, namespaceSelector or ipBlock");
  }
  const Fields fields = count_fields(peer, {"podSelector", "namespaceSelector", "ipBlock"});
  if (fields.known == 0) {
    return nothing(report, peer, "a peer needs podSelector, namespaceSelector or ipBlock; this one matches nothing");
  }
  warn_of_unknown(report, peer, {"podSelector", "namespaceSelector", "ipBlock"});
  const Value pods = peer.get("podSelector");
  const Value namespaces = peer.get("namespaceSelector");
  const Value block = peer.get("ipBlock");
  if (block.given()) {
    if (fields.known > 1) return nothing(report, block, "ipBlock does not go together with a selector");
    return read_block(report, block);
  }
  PodPeer out;
  if (pods.given()) out.pods = read_selector(report, pods);
  if (namespaces.given()) out.namespaces = read_selector(report, namespaces);
  return out;
}

}  // namespace podfence::api
