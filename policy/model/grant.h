#pragma once
// What a policy admits, rule by rule, in the terms that the compiler works with.
#include <optional>
#include <vector>

#include "policy/api/network_policy.h"
#include "policy/model/peer_spec.h"
#include "policy/model/port_set.h"

namespace podfence::model {

/// Who may talk to (or be talked to by) the subjects, and on which ports.
struct Grant {
  std::optional<PeerSpec> peer;  // nothing: every address
  PortSet ports;
  /// Ingress: resolved on the local pod (conformance T-08).
  std::vector<NamedPort> local_names;

  /// Of an egress rule with a named port: then the port is the number that the peer's match gives, and nothing else.
  bool is_of_peer_port() const { return peer && peer->port; }
  friend bool operator==(const Grant&, const Grant&) = default;
};

/// Grants of one direction. Peers and ports that can match nothing are left out, so that fewer grants, never a wider
/// one, come of what was invalid.
std::vector<Grant> grants_of(const api::NetworkPolicy& policy, net::Direction direction);

}  // namespace podfence::model
