#pragma once
// `podfence explain SRC DST[:PORT][/PROTO]`: would this flow pass, who says so, and what is the nearest thing that
// would have let it pass.
#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

#include "enforcer/cli/endpoint.h"
#include "enforcer/cli/judge.h"
#include "enforcer/cli/objects.h"
#include "policy/evaluate/evaluate.h"

namespace podfence::cli {

struct ExplainOptions {
  std::string objects;      // directory or file with manifests
  std::string source;       // "shop/web", "10.0.0.1"
  std::string destination;  // "shop/db:5432/TCP", "shop/db:postgres", "[fd00::1]:80/UDP", "10.0.0.1/ICMP"
  bool fail_closed = true;
  AttachedTo attached;
  Output output = Output::text;
};

/// DST[:PORT][/PROTO], taken apart. An IPv6 address with a port stands in brackets.
struct Target {
  std::string end;
  PortQuestion port;
  net::Protocol protocol = net::tcp;
};
Result<Target> parse_target(std::string_view text);

/// A rule of a policy that isolates the pod that denied the flow, and that admits half of it.
struct NearRule {
  std::string policy;  // "shop/allow-web"
  std::string rule;    // "ingress[0]"
  bool peer_fits = false;
  bool port_fits = false;
  bool same_protocol = false;  // it names a port of the flow's protocol
  std::string text;            // "admits this peer on TCP 80, not on TCP 5432"
};

/// The rules that come nearest to admitting a denied flow: those that admit its peer on other ports of the protocol
/// first, then those that admit its port from other peers. Empty unless policies denied it.
std::vector<NearRule> nearest_rules(const store::Cluster& cluster, const net::Flow& flow,
                                    const evaluate::Verdict& verdict);

/// Exit code: 0 = allowed, 2 = denied, 1 = error. Between dual-stack pods it is about the source's primary address.
int explain(const ExplainOptions& options, std::ostream& out, std::ostream& err);

/// The same for a cluster that is loaded.
int explain_in(const store::Cluster& cluster, const ExplainOptions& options, std::ostream& out, std::ostream& err);

}  // namespace podfence::cli
