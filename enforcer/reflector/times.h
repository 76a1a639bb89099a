#pragma once
// How long the machines of this folder wait for what, and small texts that they share.
#include <chrono>
#include <string>
#include <string_view>

#include "enforcer/reflector/pace.h"
#include "policy/api/item_decoder.h"

namespace podfence::reflector {

constexpr std::chrono::seconds connect_time{40};  // dial and handshake; who connects ends them itself
constexpr std::chrono::seconds longest_silence{30};
constexpr std::chrono::seconds longest_retry_after{300};
constexpr std::chrono::seconds absence_probe{30};
constexpr std::chrono::seconds watch_time_least{300};
constexpr std::chrono::seconds watch_time_spread{300};
constexpr std::chrono::seconds watch_margin{5};
constexpr std::chrono::seconds very_short_watch{1};
constexpr std::chrono::seconds no_bookmark_warning{10};
constexpr std::chrono::seconds no_bookmark_fallback{60};
constexpr std::chrono::seconds expired_pause{1};
constexpr std::chrono::minutes expired_again{1};
constexpr std::chrono::minutes watch_list_again{10};
constexpr std::chrono::minutes longest_server_errors{1};
constexpr std::chrono::hours full_audit_least{6};
constexpr std::chrono::hours full_audit_most{12};
// The same after the server was away, of what is short and of all pods: every agent of the cluster asks, and not at
// once.
constexpr std::chrono::seconds return_audit_least{30};
constexpr std::chrono::seconds return_audit_most{120};
constexpr std::chrono::minutes return_audit_of_pods_least{5};
constexpr std::chrono::minutes return_audit_of_pods_most{30};
constexpr unsigned most_overloads = 3;
constexpr std::size_t longest_refusal = 64 * 1024;

bool has_cause(const api::Status& status, std::string_view reason);
/// Of a query's value: all but letters, digits and -._~ as %XX.
std::string percent_encoded(std::string_view text);
/// A piece of an answer for a log: one line.
std::string printable(std::string_view text);

}  // namespace podfence::reflector
