#pragma once
// What must hold whatever the input was. A broken promise ends the fuzzer.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "policy/api/decode.h"
#include "policy/base/overloaded.h"

namespace podfence::fuzz {

inline void require(bool holds, std::string_view what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %.*s\n", static_cast<int>(what.size()), what.data());
  std::abort();
}

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
  return {static_cast<const char*>(static_cast<const void*>(data)), size};
}

inline void check_text(std::string_view text) {
  for (const char c : text) {
    require(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f, "a text without control characters");
  }
}

inline void check_selector(const api::LabelSelector& selector) {
  require(!selector.invalid || selector.requirements.empty(), "an invalid selector has no requirements");
  for (const auto& requirement : selector.requirements) {
    const bool with_values = requirement.op == api::Operator::in || requirement.op == api::Operator::not_in;
    require(with_values != requirement.values.empty(), "In and NotIn have values, the others none");
  }
  check_text(selector.text());
}

inline void check_peer(const api::Peer& peer) {
  std::visit(overloaded{
                 [](const api::PodPeer& pods) {
                   check_selector(pods.pods);
                   if (pods.namespaces) check_selector(*pods.namespaces);
                 },
                 [](const api::IpBlock& block) {
                   for (const auto& hole : block.except) {
                     require(block.cidr.contains(hole) && hole != block.cidr, "an except is inside of its block");
                   }
                 },
                 [](const api::Nothing&) {},
             },
             peer);
}

inline void check_rule(const api::PolicyRule& rule) {
  require(rule.any_peer == rule.peers.empty(), "any peer means none is listed");
  require(rule.any_port == rule.ports.empty(), "any port means none is listed");
  for (const auto& peer : rule.peers) check_peer(peer);
  for (const auto& spec : rule.ports) {
    require(net::has_ports(spec.protocol), "a rule's protocol has ports");
    const auto* range = std::get_if<net::PortRange>(&spec.port);
    require(range == nullptr || (range->first.number != 0 && range->first <= range->last), "a range of ports");
    require(!spec.whole_protocol || (range != nullptr && *range == net::every_port), "a whole protocol has every port");
  }
}

inline void check_policy(const api::NetworkPolicy& policy) {
  require(policy.isolates_ingress || policy.isolates_egress, "a policy isolates");
  require(policy.isolates_ingress || policy.ingress.empty(), "no rules of a direction that is open");
  require(policy.isolates_egress || policy.egress.empty(), "no rules of a direction that is open");
  require(!policy.pod_selector.invalid, "a policy has subjects");
  check_selector(policy.pod_selector);
  for (const auto& rule : policy.ingress) check_rule(rule);
  for (const auto& rule : policy.egress) check_rule(rule);
}

inline void check(const Result<api::Decoded>& decoded) {
  if (!decoded) return check_text(decoded.error().what());
  for (const auto& diagnostic : decoded->diagnostics) {
    check_text(diagnostic.text());
    check_text(diagnostic.object);
    check_text(diagnostic.path);
    check_text(diagnostic.message);
    require(diagnostic.text().size() < 4096, "a finding of a readable length");
  }
  for (const auto& object : decoded->objects) {
    const auto key = api::key_of(object);
    require(!key.name.empty(), "an object has a name");
    check_text(key.text());
    if (const auto* policy = std::get_if<api::NetworkPolicy>(&object)) check_policy(*policy);
    if (const auto* pod = std::get_if<api::Pod>(&object)) {
      for (const auto& port : pod->named_ports) require(port.port.number != 0 && !port.name.empty(), "a named port");
    }
  }
}

}  // namespace podfence::fuzz
