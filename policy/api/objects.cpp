#include "policy/api/objects.h"

#include "policy/base/overloaded.h"

namespace podfence::api {

std::string_view name_of(Phase phase) {
  switch (phase) {
    case Phase::pending:
      return "Pending";
    case Phase::running:
      return "Running";
    case Phase::succeeded:
      return "Succeeded";
    case Phase::failed:
      return "Failed";
    case Phase::unknown:
      return "Unknown";
  }
  return "Unknown";
}

std::optional<net::Port> Pod::named_port(std::string_view name, net::Protocol protocol) const {
  for (const auto& port : named_ports) {
    if (port.protocol == protocol && port.name == name) return port.port;
  }
  return std::nullopt;
}

const ObjectMeta& meta_of(const Object& object) {
  return std::visit([](const auto& one) -> const ObjectMeta& { return one.meta; }, object);
}

ObjectKey key_of(const Object& object) {
  const Kind kind = std::visit(overloaded{
                                   [](const Namespace&) { return Kind::namespace_; },
                                   [](const Node&) { return Kind::node; },
                                   [](const Pod&) { return Kind::pod; },
                                   [](const NetworkPolicy&) { return Kind::network_policy; },
                               },
                               object);
  const ObjectMeta& meta = meta_of(object);
  const bool namespaced = kind == Kind::pod || kind == Kind::network_policy;
  return {kind, namespaced ? meta.namespace_ : Text(), meta.name};
}

}  // namespace podfence::api
