#pragma once
// What an Event says of a record, and which records it is about.
#include <string>

#include "enforcer/flow/history.h"

namespace podfence::sink {

inline bool is_pod(const flow::Endpoint& end) {
  return end.type == flow::EndpointType::pod && !end.k8s.namespace_.empty() && !end.k8s.pod.empty() &&
         !end.k8s.pod_uid.empty();
}

/// The end that was judged on this node.
inline const flow::Endpoint& local_end(const flow::LoggedLine& line) {
  return line.direction == "egress" ? line.source : line.destination;
}
inline const flow::Endpoint& far_end(const flow::LoggedLine& line) {
  return line.direction == "egress" ? line.destination : line.source;
}

/// A denied flow of a pod of this node whose names can be names in a cluster.
bool is_about_a_pod_of(const flow::LoggedLine& line, const std::string& node);

/// Equal for records that one Event tells of: the pod, direction, peer (a workload, or an address), port, policies.
std::string key_of(const flow::LoggedLine& line);

/// "answered 403: MESSAGE", with the message of a Status.
std::string refusal_text(unsigned status, const std::string& body);

}  // namespace podfence::sink
