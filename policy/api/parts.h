#pragma once
// The decoder's parts: one function for each kind of object, and what they share. All report what is wrong and give
// back the narrow reading of it.
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "policy/api/objects.h"
#include "policy/api/report.h"
#include "policy/api/value.h"

namespace podfence::api {

/// Whether the object has a usable name and namespace, so that it can be kept.
bool read_meta(Report& report, const Value& object, Kind kind, ObjectMeta& meta);

std::optional<Namespace> read_namespace(Report& report, const Value& object);
std::optional<Node> read_node(Report& report, const Value& object);
std::optional<Pod> read_pod(Report& report, const Value& object);
std::optional<NetworkPolicy> read_network_policy(Report& report, const Value& object);

/// A selector that is given; `invalid` when any part of it is.
LabelSelector read_selector(Report& report, const Value& selector);

/// One entry of from or to.
Peer read_peer(Report& report, const Value& peer);

/// One entry of a rule's ports.
PortSpec read_port_spec(Report& report, const Value& entry);

/// TCP when not given; nothing when it is no protocol with ports.
std::optional<net::Protocol> read_protocol(Report& report, const Value& protocol);

/// 1 to 65535, or nothing and an error.
std::optional<net::Port> read_port_number(Report& report, const Value& port);

struct Fields {
  std::size_t known = 0;    // given ones
  std::size_t unknown = 0;  // null ones too
  std::string first_unknown;
};
/// Counts the fields of an object that we know and those that we do not.
Fields count_fields(const Value& object, std::initializer_list<std::string_view> known);

/// A warning for every field that is not known.
void warn_of_unknown(Report& report, const Value& object, std::initializer_list<std::string_view> known);

}  // namespace podfence::api
