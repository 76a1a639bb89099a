#include "enforcer/flow/filter.h"

#include <array>
#include <charconv>
#include <span>
#include <utility>

#include "policy/api/syntax.h"
#include "policy/base/overloaded.h"

namespace podfence::flow {
namespace {

constexpr std::array<std::string_view, 5> verdicts{"allow", "deny", "would_allow", "would_deny", "error"};
constexpr std::array<std::string_view, 12> reasons{
    "default_deny", "explicit_deny", "admin_deny",         "baseline_deny", "explicit_allow", "default_allow",
    "not_selected", "fail_closed",   "endpoint_not_ready", "invalid_state", "spoofed_source", "unattributed",
};

std::string quoted(std::string_view text) {
  return '\'' + std::string(text) + '\'';
}

Result<std::string> word_of(std::span<const std::string_view> words, std::string_view what, std::string_view text) {
  if (std::find(words.begin(), words.end(), text) != words.end()) return std::string(text);
  std::string message = quoted(text) + " is no " + std::string(what) + ": give one of";
  for (std::size_t i = 0; i < words.size(); ++i) message += (i == 0 ? " " : ", ") + std::string(words[i]);
  return fail(Errc::invalid, std::move(message));
}

bool all_digits(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

/// "ns/name" or "ns/" in its parts, when both can be names in a cluster.
std::optional<std::pair<std::string_view, std::string_view>> namespaced(std::string_view text) {
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const auto first = text.substr(0, slash);
  const auto second = text.substr(slash + 1);
  if (!api::is_dns_label(first) || (!second.empty() && !api::is_dns_subdomain(second))) return std::nullopt;
  return std::pair(first, second);
}

}  // namespace

namespace {

/// "app=web,tier=db"
std::optional<Labels> parse_labels(std::string_view text) {
  Labels labels;
  while (true) {
    const auto comma = std::min(text.find(','), text.size());
    const auto one = text.substr(0, comma);
    const auto equals = one.find('=');
    if (equals == std::string_view::npos) return std::nullopt;
    const auto key = one.substr(0, equals);
    const auto value = one.substr(equals + 1);
    if (!api::is_label_key(key) || !api::is_label_value(value)) return std::nullopt;
    labels.emplace_back(key, value);
    if (comma == text.size()) return labels;
    text.remove_prefix(comma + 1);
  }
}

}  // namespace

bool EndpointFilter::fits(const Endpoint& end) const {
  if (block) return end.ip && block->contains(*end.ip);
  if (!labels.empty()) {
    if (!end.k8s.labels) return false;
    const auto& has = *end.k8s.labels;
    return std::all_of(labels.begin(), labels.end(),
                       [&](const auto& label) { return std::find(has.begin(), has.end(), label) != has.end(); });
  }
  return end.k8s.namespace_ == namespace_ && (name.empty() || end.k8s.pod == name || end.k8s.workload == name);
}

Result<EndpointFilter> parse_endpoint_filter(std::string_view text) {
  EndpointFilter filter;
  if (const auto ip = net::IpAddr::parse(text)) {
    filter.block = net::Cidr::around(*ip, static_cast<std::uint8_t>(net::address_size(ip->family()) * 8));
    return filter;
  }
  if (const auto block = net::Cidr::parse(text)) {
    filter.block = *block;
    return filter;
  }
  const auto parts = namespaced(text);
  if (parts) {
    filter.namespace_ = parts->first;
    filter.name = parts->second;
    return filter;
  }
  if (auto labels = parse_labels(text)) {
    filter.labels = *std::move(labels);
    return filter;
  }
  return fail(Errc::invalid,
              quoted(text) +
                  " is none of namespace/pod, namespace/workload, namespace/, label=value, an IP address, "
                  "a CIDR block");
}

bool PortFilter::fits(const Endpoint& destination) const {
  return std::visit(overloaded{
                        [&](net::Port number) { return destination.port == number; },
                        [&](const std::string& name) { return destination.k8s.port_name == name; },
                    },
                    port);
}

Result<PortFilter> parse_port_filter(std::string_view text) {
  if (all_digits(text)) {
    std::uint16_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error == std::errc{} && number > 0) return PortFilter{net::Port{number}};
  } else if (api::is_port_name(text)) {
    return PortFilter{std::string(text)};
  }
  return fail(Errc::invalid, quoted(text) + " is no port: give a number from 1 to 65535 or a name of a pod's port");
}

bool PolicyFilter::fits(const PolicyRef& policy) const {
  return (namespace_.empty() || policy.namespace_ == namespace_) && (name.empty() || policy.name == name);
}

Result<PolicyFilter> parse_policy_filter(std::string_view text) {
  if (const auto parts = namespaced(text)) return PolicyFilter{std::string(parts->first), std::string(parts->second)};
  if (api::is_dns_subdomain(text)) return PolicyFilter{{}, std::string(text)};
  return fail(Errc::invalid, quoted(text) + " names no policy: give namespace/name, namespace/ or a name");
}

Result<std::string> parse_verdict(std::string_view text) {
  return word_of(verdicts, "verdict", text);
}

Result<std::string> parse_reason(std::string_view text) {
  return word_of(reasons, "reason", text);
}

std::vector<std::string> Filter::label_keys() const {
  std::vector<std::string> keys;
  for (const auto* filters : {&from.any, &from.none, &to.any, &to.none}) {
    for (const EndpointFilter& filter : *filters) {
      for (const auto& label : filter.labels) keys.push_back(label.first);
    }
  }
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  return keys;
}

bool Filter::narrows() const {
  return from.given() || to.given() || port.given() || verdict.given() || reason.given() || policy.given();
}

bool Filter::matches(const LoggedLine& line) const {
  if (since && std::max(line.time, line.end) < *since) return false;
  if (until && line.time > *until) return false;
  if (line.type == "loss") return true;
  if (line.type != "flow" && line.type != "detection") return !narrows();
  const bool many_ports = line.scan && line.scan->ports > 0;
  const bool many_ends = line.scan && line.scan->ends > 0;
  const auto names = [&](const PolicyFilter& filter) {
    return std::any_of(line.policies.begin(), line.policies.end(), [&](const auto& p) { return filter.fits(p); });
  };
  return verdict.holds([&](const std::string& word) { return line.verdict == word; }) &&
         reason.holds([&](const std::string& word) { return line.reason == word; }) &&
         port.holds([&](const PortFilter& filter) { return filter.fits(line.destination); }, many_ports) &&
         from.holds([&](const EndpointFilter& filter) { return filter.fits(line.source); },
                    many_ends && !line.source.ip) &&
         to.holds([&](const EndpointFilter& filter) { return filter.fits(line.destination); },
                  many_ends && !line.destination.ip) &&
         policy.holds(names);
}

}  // namespace podfence::flow
