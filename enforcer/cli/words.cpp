#include "enforcer/cli/words.h"

#include "policy/base/overloaded.h"

namespace podfence::cli {
namespace {

constexpr std::size_t most_in_a_list = 6;

template <class T, class Words>
std::string joined(const std::vector<T>& parts, const Words& words) {
  std::string text;
  const std::size_t shown = parts.size() > most_in_a_list ? most_in_a_list : parts.size();
  for (std::size_t i = 0; i < shown; ++i) {
    if (i > 0) text += i + 1 == parts.size() ? " or " : ", ";
    text += words(parts[i]);
  }
  if (parts.size() > shown) text += " and " + std::to_string(parts.size() - shown) + " more";
  return text;
}

std::string words_of_pods(const api::PodPeer& peer) {
  std::string text = peer.pods.matches_everything() ? "every pod" : "pods " + peer.pods.text();
  if (!peer.namespaces) return text + " of the policy's namespace";
  if (peer.namespaces->matches_everything()) return text + " of every namespace";
  return text + " of namespaces " + peer.namespaces->text();
}

std::string words_of_block(const api::IpBlock& block) {
  std::string text = block.cidr.text();
  for (std::size_t i = 0; i < block.except.size(); ++i) text += (i == 0 ? " except " : ", ") + block.except[i].text();
  return text;
}

std::string words_of_name(const std::string& name, net::Protocol protocol, const api::Pod* destination) {
  const std::string text = "the " + net::text_of(protocol) + " port named " + name;
  const auto number = destination != nullptr ? destination->named_port(name, protocol) : std::nullopt;
  return text + (number ? " (" + std::to_string(number->number) + " there)" : " (the destination has none)");
}

}  // namespace

std::string words_of(const api::Peer& peer) {
  return std::visit(overloaded{
                        [](const api::PodPeer& pods) { return words_of_pods(pods); },
                        [](const api::IpBlock& block) { return words_of_block(block); },
                        [](const api::Nothing& nothing) { return "nobody (" + nothing.why + ")"; },
                    },
                    peer);
}

std::string words_of(const api::PortSpec& port, const api::Pod* destination) {
  const std::string protocol = net::text_of(port.protocol);
  if (port.whole_protocol) return "every " + protocol + " port";
  return std::visit(overloaded{
                        [&](const net::PortRange& range) {
                          std::string text = protocol + " " + std::to_string(range.first.number);
                          if (range.first != range.last) text += "-" + std::to_string(range.last.number);
                          return text;
                        },
                        [&](const std::string& name) { return words_of_name(name, port.protocol, destination); },
                        [](const api::Nothing& nothing) { return "no port (" + nothing.why + ")"; },
                    },
                    port.port);
}

std::string peers_in_words(const api::PolicyRule& rule) {
  return rule.any_peer ? "everybody" : joined(rule.peers, [](const api::Peer& peer) { return words_of(peer); });
}

std::string ports_in_words(const api::PolicyRule& rule, const api::Pod* destination) {
  if (rule.any_port) return "every port";
  return joined(rule.ports, [&](const api::PortSpec& port) { return words_of(port, destination); });
}

}  // namespace podfence::cli
