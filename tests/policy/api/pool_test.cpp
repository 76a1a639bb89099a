#include "policy/api/pool.h"

#include <gtest/gtest.h>

#include "policy/api/decode.h"

namespace podfence::api {
namespace {

constexpr std::string_view two_of_each = R"(
kind: List
apiVersion: v1
items:
- {kind: Namespace, apiVersion: v1, metadata: {name: shop}}
- kind: Pod
  apiVersion: v1
  metadata:
    {name: web-1, namespace: shop, labels: {app: web}, ownerReferences: [{kind: StatefulSet, name: web, controller: true}]}
  spec: {nodeName: node-1, containers: [{ports: [{name: http, containerPort: 8080}]}]}
- kind: NetworkPolicy
  apiVersion: networking.k8s.io/v1
  metadata: {name: one, namespace: shop}
  spec: {podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}
- kind: Pod
  apiVersion: v1
  metadata:
    {name: web-2, namespace: shop, labels: {app: web}, ownerReferences: [{kind: StatefulSet, name: web, controller: true}]}
  spec: {nodeName: node-1, containers: [{ports: [{name: http, containerPort: 8080}]}]}
- kind: NetworkPolicy
  apiVersion: networking.k8s.io/v1
  metadata: {name: two, namespace: shop}
  spec:
    podSelector: {matchLabels: {app: db}}
    egress: [{to: [{namespaceSelector: {matchLabels: {app: db}}, podSelector: {matchLabels: {app: web}}}]}]
    policyTypes: [Egress]
)";

const PodPeer& first_peer(const std::vector<PolicyRule>& rules) {
  return std::get<PodPeer>(rules.at(0).peers.at(0));
}

TEST(Pool, what_the_objects_of_a_file_have_in_common_is_stored_once) {
  const auto decoded = decode_file("a.yaml", two_of_each);
  ASSERT_TRUE(decoded && !decoded->has_errors());
  const auto& objects = decoded->objects;
  const auto& one = std::get<Pod>(objects.at(1));
  const auto& two = std::get<Pod>(objects.at(3));
  EXPECT_TRUE(one.meta.labels.shares_with(two.meta.labels));
  EXPECT_TRUE(one.meta.namespace_.shares_with(two.meta.namespace_));
  EXPECT_TRUE(one.node.shares_with(two.node));
  EXPECT_TRUE(one.workload.shares_with(two.workload));
  EXPECT_TRUE(one.workload_kind.shares_with(two.workload_kind));
  EXPECT_TRUE(one.named_ports.shares_with(two.named_ports));
  const auto& in = std::get<NetworkPolicy>(objects.at(2));
  const auto& out = std::get<NetworkPolicy>(objects.at(4));
  EXPECT_TRUE(in.pod_selector.requirements.shares_with(first_peer(in.ingress).pods.requirements));
  EXPECT_TRUE(in.pod_selector.requirements.shares_with(first_peer(out.egress).pods.requirements));
  EXPECT_TRUE(out.pod_selector.requirements.shares_with(first_peer(out.egress).namespaces->requirements));
}

}  // namespace
}  // namespace podfence::api
