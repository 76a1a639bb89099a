// The small texts: addresses, blocks, protocols, names, times, plain YAML scalars; and selectors against labels. The
// first byte chooses.
#include <algorithm>

#include "policy/api/syntax.h"
#include "policy/api/yaml_scalar.h"
#include "policy/base/json_writer.h"
#include "tests/fuzz/check.h"

namespace podfence::fuzz {
namespace {

void addresses(std::string_view text) {
  const auto ip = net::IpAddr::parse(text);
  if (!ip) return;
  require(net::IpAddr::parse(ip->text()) == *ip, "an address is read back from its text");
  const auto next = ip->next();
  require(!next || (*ip < *next && next->previous() == *ip), "next and previous are opposites");
  require(net::IpAddr::from_bytes(std::as_bytes(ip->bytes())) == *ip, "an address is read back from its bytes");
}

void blocks(std::string_view text) {
  const auto middle = text.find(' ');
  const auto a = net::Cidr::parse(text.substr(0, middle));
  if (!a) return;
  require(net::Cidr::parse(a->text()) == *a, "a block is read back from its text");
  require(a->contains(a->base()) && a->contains(a->range().last), "a block contains its ends");
  const auto b = net::Cidr::parse(middle == std::string_view::npos ? "10.0.0.0/9" : text.substr(middle + 1));
  if (!b) return;
  const auto left = net::difference({a->range()}, {b->range()});
  require(left.empty() == b->contains(*a), "nothing is left of what is contained");
  for (const auto& range : left) {
    for (const auto& ip : {range.first, range.last})
      require(a->contains(ip) && !b->contains(ip), "what is left is in a and not in b");
  }
  auto both = left;
  if (a->contains(*b)) both.push_back(b->range());
  if (a->contains(*b))
    require(net::merged(both) == std::vector{a->range()}, "what is left and what was taken make the whole");
}

void words(std::string_view text) {
  if (const auto protocol = net::parse_protocol(text)) {
    require(net::parse_protocol(net::text_of(*protocol)) == *protocol, "a protocol is read back from its text");
  }
  require(!api::is_dns_label(text) || api::is_dns_subdomain(text), "a DNS label is a DNS name");
  require(!api::is_port_name(text) || api::is_dns_label(text), "a port's name is a DNS label");
  require(!api::is_label_key(text) || !text.empty(), "a key is not empty");
  static_cast<void>(api::is_label_value(text));
  static_cast<void>(api::parse_timestamp(text));
  std::string quoted;
  append_json_string(quoted, text);
  check_text(quoted);
}

void scalars(std::string_view text) {
  const auto scalar = api::resolve_plain(text);
  if (scalar.type == api::ScalarType::string) return;
  require(!scalar.json.empty() && scalar.json.size() < 64, "a scalar is a short JSON text");
  const std::string object = R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":)" + scalar.json + "}";
  require(api::decode_json("f", object).has_value(), "a scalar is JSON");
}

/// A policy whose selector is JSON from the fuzzer must not select more than one that can be read.
void selectors(std::string_view text) {
  const std::string object =
      R"({"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"name":"p"},"spec":{"ingress":)"
      R"([{"from":[{"podSelector":)" +
      std::string(text) + "}]}]}}";
  const auto decoded = api::decode_json("f", object);
  check(decoded);
  if (!decoded || decoded->objects.empty()) return;
  const auto& policy = std::get<api::NetworkPolicy>(decoded->objects.front());
  if (policy.ingress.empty() || policy.ingress[0].peers.empty()) return;
  const auto* peer = std::get_if<api::PodPeer>(&policy.ingress[0].peers[0]);
  if (peer == nullptr) return;
  const api::LabelSelector& selector = peer->pods;
  const api::Labels labels{{"a", "b"}, {"c", ""}};
  const bool all = std::all_of(selector.requirements.begin(), selector.requirements.end(),
                               [&](const auto& requirement) { return requirement.matches(labels); });
  require(selector.matches(labels) == (all && !selector.invalid), "a selector is the AND of its requirements");
  require(!decoded->has_errors() || !selector.matches_everything(), "an invalid selector does not select everything");
}

}  // namespace
}  // namespace podfence::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace podfence;
  if (size == 0) return 0;
  const std::string_view text = fuzz::text_of(data + 1, size - 1);
  switch (data[0]) {
    case 'i':
      fuzz::addresses(text);
      break;
    case 'b':
      fuzz::blocks(text);
      break;
    case 'w':
      fuzz::words(text);
      break;
    case 's':
      fuzz::selectors(text);
      break;
    default:
      fuzz::scalars(text);
  }
  return 0;
}
