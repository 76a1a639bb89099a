#pragma once
// `podfence flows`: which lines of the flow log are meant, and how people read them.
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "enforcer/flow/history.h"
#include "policy/net/cidr.h"

namespace podfence::flow {

/// "ns/pod", "ns/", an IP address, or a CIDR block.
struct EndpointFilter {
  std::optional<net::Cidr> block;
  std::string namespace_;
  std::string pod;  // empty = any of the namespace
  bool matches(const Endpoint& end) const;
};

Result<EndpointFilter> parse_endpoint_filter(std::string_view text);

/// All that is given must hold; of several sources (destinations) one.
struct Filter {
  bool deny = false;  // denied flows only
  std::vector<EndpointFilter> from;
  std::vector<EndpointFilter> to;
  std::optional<TimePoint> since;
  std::optional<net::Port> port;  // destination port
  std::string policy;             // "ns/name" or "name": one of the policies named
  /// Losses are shown whatever the ends and ports are, because what was lost may be what was looked for; agent records
  /// only where nothing but the time is asked for.
  bool matches(const LoggedLine& line) const;
};

/// "2026-11-23 17:30:00.123 deny in shop/web 10.0.1.5:43210 -> db/pg 10.0.2.9:5432/tcp x14 by db/allow-api", without a
/// newline and without control characters.
std::string text_line(const LoggedLine& line);

/// Calls `each` for the lines that match, oldest file first, in the order they were written, until it answers false.
/// Lines that are not ours are skipped and counted in the result.
Result<std::size_t> read_history(const std::string& path, const Filter& filter,
                                 const std::function<bool(const LoggedLine& line, std::string_view json)>& each);

/// New lines of the live file, across rotations. Starts at its end.
class Follower {
 public:
  Follower(std::string path, Filter filter);
  /// What was written since the last call.
  Result<> poll(const std::function<void(const LoggedLine& line, std::string_view json)>& each);

 private:
  std::string path_;
  Filter filter_;
  LineParser parser_;
  FilePosition position_;
};

}  // namespace podfence::flow
