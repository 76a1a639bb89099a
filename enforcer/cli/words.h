#pragma once
// Parts of a policy in words.
#include <string>
#include <string_view>
#include <vector>

#include "policy/api/network_policy.h"
#include "policy/api/objects.h"

namespace podfence::cli {

/// "pods tier=web of this namespace", "10.0.0.0/8 except 10.1.0.0/16"
std::string words_of(const api::Peer& peer);
/// "TCP 80", "TCP 8000-9000", "every TCP port", and a name with what it means on the destination pod (there may be
/// none): "the TCP port named http (8080 there)", "the TCP port named http (the destination has none)".
std::string words_of(const api::PortSpec& port, const api::Pod* destination);

/// The peers or ports of a rule, joined with "or"; long lists are cut short.
std::string peers_in_words(const api::PolicyRule& rule);
std::string ports_in_words(const api::PolicyRule& rule, const api::Pod* destination);

}  // namespace podfence::cli
