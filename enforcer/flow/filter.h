#pragma once
// Which lines of a flow log are meant: the conditions of `podfence flows`.
#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "enforcer/flow/history.h"
#include "policy/net/cidr.h"

namespace podfence::flow {

/// The values of one option, those given plain and those given with a leading '!'. Holds for what none of the excluded
/// values fits and, when plain ones were given, one of those does. What a line does not say fits no value: it is never
/// excluded.
template <class T>
struct Wanted {
  std::vector<T> any;
  std::vector<T> none;

  bool given() const { return !any.empty() || !none.empty(); }
  /// `may`: the line stands for many, and says of a few only what they were.
  template <class Fits>
  bool holds(Fits fits, bool may = false) const {
    return std::none_of(none.begin(), none.end(), fits) &&
           (any.empty() || may || std::any_of(any.begin(), any.end(), fits));
  }
};

/// "ns/name" (a pod, or every pod of a workload), "ns/", "key=value" (labels that the pod has; more than one joined by
/// commas), an IP address, or a CIDR block.
struct EndpointFilter {
  std::optional<net::Cidr> block;
  Labels labels;
  std::string namespace_;
  std::string name;  // empty = any of the namespace
  bool fits(const Endpoint& end) const;
};
Result<EndpointFilter> parse_endpoint_filter(std::string_view text);

/// The destination's port by number, or by the name that its pod gives it.
struct PortFilter {
  std::variant<net::Port, std::string> port;
  bool fits(const Endpoint& destination) const;
};
Result<PortFilter> parse_port_filter(std::string_view text);

/// "ns/name", "ns/", or a name in any namespace.
struct PolicyFilter {
  std::string namespace_;  // empty = any
  std::string name;        // empty = any
  bool fits(const PolicyRef& policy) const;
};
Result<PolicyFilter> parse_policy_filter(std::string_view text);

/// A word of the schema for the field, whether this version writes it or not.
Result<std::string> parse_verdict(std::string_view text);
Result<std::string> parse_reason(std::string_view text);

/// All conditions that are given must hold.
struct Filter {
  Wanted<EndpointFilter> from;
  Wanted<EndpointFilter> to;
  Wanted<PortFilter> port;
  Wanted<std::string> verdict;
  Wanted<std::string> reason;
  Wanted<PolicyFilter> policy;     // one of the policies that a line names
  std::optional<TimePoint> since;  // of the last packet
  std::optional<TimePoint> until;  // of the first packet

  /// Whether anything but the time is asked for.
  bool narrows() const;
  /// Keys of the labels that are asked for, sorted.
  std::vector<std::string> label_keys() const;
  /// A loss is shown whatever else is asked for than the time, because what was lost may be what was looked for; an
  /// agent record only where nothing else is. A detection has ends as a flow has, but no verdict, reason or policies.
  bool matches(const LoggedLine& line) const;
};

}  // namespace podfence::flow
