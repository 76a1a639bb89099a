#pragma once
// A decoded policy in a line, and the decoding of snippets, for tables of tests.
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "policy/api/decode.h"
#include "policy/base/overloaded.h"

namespace podfence::api {

inline std::string describe(const Peer& peer) {
  return std::visit(overloaded{
                        [](const PodPeer& pods) {
                          std::string out = "pods[" + pods.pods.text() + "]";
                          if (pods.namespaces) out += "@[" + pods.namespaces->text() + "]";
                          return out;
                        },
                        [](const IpBlock& block) {
                          std::string out = block.cidr.text();
                          for (const auto& hole : block.except) out += "-" + hole.text();
                          return out;
                        },
                        [](const Nothing&) { return std::string("nothing"); },
                    },
                    peer);
}

inline std::string describe(const PortSpec& spec) {
  const std::string protocol = net::text_of(spec.protocol);
  if (spec.whole_protocol) return protocol;
  return std::visit(overloaded{
                        [&](const net::PortRange& range) {
                          std::string out = protocol + ":" + std::to_string(range.first.number);
                          if (range.last != range.first) out += "-" + std::to_string(range.last.number);
                          return out;
                        },
                        [&](const std::string& name) { return protocol + ":" + name; },
                        [](const Nothing&) { return std::string("nothing"); },
                    },
                    spec.port);
}

template <class List>
std::string described_list(bool any, const List& list) {
  if (any) return list.empty() ? "any" : "any?!";
  std::string out;
  for (const auto& one : list) out += (out.empty() ? "" : "+") + describe(one);
  return out;
}

inline std::string describe(const PolicyRule& rule) {
  return described_list(rule.any_peer, rule.peers) + " on " + described_list(rule.any_port, rule.ports);
}

inline std::string describe(bool isolates, const std::vector<PolicyRule>& rules) {
  if (!isolates) return rules.empty() ? "open" : "open?!";
  if (rules.empty()) return "closed";
  std::string out;
  for (const auto& rule : rules) out += (out.empty() ? "" : " | ") + describe(rule);
  return out;
}

/// "app=web; in: pods[app=cli] on TCP:80; out: open"
inline std::string describe(const NetworkPolicy& policy) {
  return policy.pod_selector.text() + "; in: " + describe(policy.isolates_ingress, policy.ingress) +
         "; out: " + describe(policy.isolates_egress, policy.egress);
}

inline std::vector<std::string> paths_of(const Decoded& decoded, Severity severity) {
  std::vector<std::string> out;
  for (const auto& d : decoded.diagnostics) {
    if (d.severity == severity) out.push_back(d.path);
  }
  return out;
}

inline Decoded decoded(std::string_view yaml) {
  auto result = decode_yaml("test.yaml", yaml);
  if (result) return *std::move(result);
  ADD_FAILURE() << result.error().what() << "\nin\n" << yaml;
  return {};
}

/// The text with every line moved to the right.
inline std::string indented(std::string_view text, std::size_t columns) {
  std::string out;
  bool at_start = true;
  for (const char c : text) {
    if (at_start) out.append(columns, ' ');
    out += c;
    at_start = c == '\n';
  }
  return out;
}

/// A NetworkPolicy "shop/p" with that spec, in flow style ("{podSelector: {}}").
inline Decoded decoded_policy(std::string_view spec) {
  return decoded("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: shop}\nspec: " +
                 std::string(spec) + "\n");
}

template <class T>
const T& only(const Decoded& from) {
  static const T none{};
  EXPECT_EQ(from.objects.size(), 1U);
  if (from.objects.size() != 1 || !std::holds_alternative<T>(from.objects.front())) {
    ADD_FAILURE() << "not the one object expected";
    return none;
  }
  return std::get<T>(from.objects.front());
}

using Paths = std::vector<std::string>;

}  // namespace podfence::api
