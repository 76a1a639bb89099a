#include "policy/api/pool.h"

namespace podfence::api {
namespace {

template <class Set, class Value>
void take_from(Set& known, Value& value) {
  if (!value.empty()) value = *known.insert(value).first;
}

}  // namespace

void Pool::share(Text& text) {
  take_from(texts_, text);
}
void Pool::share(Labels& labels) {
  take_from(labels_, labels);
}
void Pool::share(LabelSelector& selector) {
  take_from(requirements_, selector.requirements);
}

void Pool::share(Pod& object) {
  share(object.meta.namespace_);
  share(object.meta.labels);
  share(object.node);
  share(object.workload_kind);
  share(object.workload);
  take_from(ports_, object.named_ports);
}

void Pool::share(NetworkPolicy& object) {
  share(object.meta.namespace_);
  share(object.meta.labels);
  share(object.pod_selector);
  share(object.ingress);
  share(object.egress);
}

void Pool::share(std::vector<PolicyRule>& rules) {
  for (PolicyRule& rule : rules) {
    for (Peer& peer : rule.peers) {
      auto* pods = std::get_if<PodPeer>(&peer);
      if (pods == nullptr) continue;
      share(pods->pods);
      if (pods->namespaces) share(*pods->namespaces);
    }
  }
}

}  // namespace podfence::api
