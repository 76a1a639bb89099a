// Namespace, Node and Pod.
#include "tests/policy/api/describe.h"
#include "tests/support/builders.h"

namespace podfence::api {
namespace {

using test::cidr;
using test::ip;

Decoded decoded_kind(const std::string& kind, const std::string& body) {
  return decoded("apiVersion: v1\nkind: " + kind + "\n" + body);
}
Decoded decoded_pod(const std::string& body) {
  return decoded_kind("Pod", "metadata: {name: p, namespace: shop}\n" + body);
}

std::string describe(const Pod& pod) {
  std::string out =
      std::string(name_of(pod.phase)) + (pod.host_network ? " host" : "") + (pod.node.empty() ? "" : " on " + pod.node);
  for (const auto& address : pod.ips) out += " " + address.text();
  for (const auto& port : pod.named_ports) {
    out += " " + port.name + "=" + net::text_of(port.protocol) + ":" + std::to_string(port.port.number);
  }
  return out;
}

struct PodCase {
  std::string name;
  std::string body;  // below metadata
  std::string pod;
  Paths errors = {};
};

void check(const std::vector<PodCase>& cases) {
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name + "\n" + c.body);
    const Decoded result = decoded_pod(c.body);
    EXPECT_EQ(describe(only<Pod>(result)), c.pod);
    EXPECT_EQ(paths_of(result, Severity::error), c.errors);
  }
}

TEST(DecodePod, state) {
  check({
      {"D-15 bare", "", "Pending"},
      {"null parts", "spec: null\nstatus: null", "Pending"},
      {"running", "status: {phase: Running, podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}]}", "Running 10.0.0.1"},
      {"podIP alone", "status: {phase: Running, podIP: 10.0.0.1}", "Running 10.0.0.1"},
      {"6-01 both families", "status: {podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}]}",
       "Pending 10.0.0.1 fd00::1"},
      {"6-05 one address written twice", "status: {podIPs: [{ip: 'fd00::1'}, {ip: 'FD00:0::1'}]}", "Pending fd00::1"},
      {"6-05 mapped", "status: {podIP: '::ffff:10.0.0.1'}", "Pending 10.0.0.1"},
      {"D-15 empty address", "status: {podIP: ''}", "Pending"},
      {"node", "spec: {nodeName: n1}", "Pending on n1"},
      {"N-05 host network", "spec: {hostNetwork: true}", "Pending host"},
      {"host network false", "spec: {hostNetwork: false}", "Pending"},
      {"D-12 succeeded", "status: {phase: Succeeded}", "Succeeded"},
      {"D-12 failed", "status: {phase: Failed}", "Failed"},
      {"phase unknown", "status: {phase: Unknown}", "Unknown"},
      {"D-25 other fields", "spec: {foo: 1}\nstatus: {bar: [2]}", "Pending"},
  });
}

TEST(DecodePod, V_11_invalid_state) {
  check({
      {"bad address", "status: {podIPs: [{ip: x}, {ip: 10.0.0.2}]}", "Pending 10.0.0.2", {"status.podIPs[0].ip"}},
      {"address with length", "status: {podIP: 10.0.0.1/24}", "Pending", {"status.podIP"}},
      {"address is a number", "status: {podIP: 10}", "Pending", {"status.podIP"}},
      {"podIPs is a string", "status: {podIPs: 10.0.0.1}", "Pending", {"status.podIPs"}},
      {"podIPs of strings", "status: {podIPs: [10.0.0.1]}", "Pending", {"status.podIPs[0]"}},
      {"strange phase", "status: {phase: Sleeping}", "Unknown", {"status.phase"}},
      {"phase is a list", "status: {phase: [Running]}", "Unknown", {"status.phase"}},
      {"host network is a string: still a subject", "spec: {hostNetwork: 'true'}", "Pending", {"spec.hostNetwork"}},
      {"node is a number", "spec: {nodeName: 1}", "Pending", {"spec.nodeName"}},
      {"spec is a list", "spec: []", "Pending", {"spec"}},
      {"status is a string", "status: x", "Pending", {"status"}},
      {"containers is a map", "spec: {containers: {}}", "Pending", {"spec.containers"}},
      {"container is a string", "spec: {containers: [x]}", "Pending", {"spec.containers[0]"}},
      {"ports is a map", "spec: {containers: [{ports: {}}]}", "Pending", {"spec.containers[0].ports"}},
      {"port is a number", "spec: {containers: [{ports: [80]}]}", "Pending", {"spec.containers[0].ports[0]"}},
  });
}

TEST(DecodePod, named_ports) {
  const auto ports = [](const std::string& list) { return "spec: {containers: [{ports: [" + list + "]}]}"; };
  const std::string at = "spec.containers[0].ports[0]";
  check({
      {"T-08", ports("{name: http, containerPort: 80}"), "Pending http=TCP:80"},
      {"T-13 UDP", ports("{name: dns, containerPort: 53, protocol: UDP}"), "Pending dns=UDP:53"},
      {"SCTP", ports("{name: s, containerPort: 53, protocol: SCTP}"), "Pending s=SCTP:53"},
      {"T-15 one name, two protocols",
       ports("{name: dns, containerPort: 53, protocol: UDP}, {name: dns, containerPort: 54}"),
       "Pending dns=UDP:53 dns=TCP:54"},
      {"without a name", ports("{containerPort: 80}, {name: '', containerPort: 81}, {name: null, containerPort: 82}"),
       "Pending"},
      {"two containers",
       "spec: {containers: [{ports: [{name: a, containerPort: 1}]}, {ports: [{name: b, containerPort: 2}]}]}",
       "Pending a=TCP:1 b=TCP:2"},
      {"T-16 sidecar",
       "spec: {initContainers: [{restartPolicy: Always, ports: [{name: m, containerPort: 9}]}], "
       "containers: [{ports: [{name: a, containerPort: 1}]}]}",
       "Pending a=TCP:1 m=TCP:9"},
      {"T-17 ordinary init container", "spec: {initContainers: [{ports: [{name: m, containerPort: 9}]}]}", "Pending"},
      {"bad name", ports("{name: HTTP, containerPort: 80}"), "Pending", {at + ".name"}},
      {"name is a number", ports("{name: 80, containerPort: 80}"), "Pending", {at + ".name"}},
      {"no number", ports("{name: http}"), "Pending", {at + ".containerPort"}},
      {"T-30 zero", ports("{name: http, containerPort: 0}"), "Pending", {at + ".containerPort"}},
      {"a string", ports("{name: http, containerPort: '80'}"), "Pending", {at + ".containerPort"}},
      {"65536", ports("{name: http, containerPort: 65536}"), "Pending", {at + ".containerPort"}},
      {"bad protocol", ports("{name: http, containerPort: 80, protocol: tcp}"), "Pending", {at + ".protocol"}},
  });
}

struct OwnerCase {
  std::string name;
  std::string labels;
  std::string owners;
  std::string workload;  // "Kind name"
};

TEST(DecodePod, workload) {
  const std::vector<OwnerCase> cases{
      {"none", "{}", "null", " "},
      {"no controller", "{}", "[{kind: Foo, name: f}, {kind: Bar, name: b, controller: false}]", " "},
      {"daemon set", "{}", "[{kind: DaemonSet, name: d, controller: true}]", "DaemonSet d"},
      {"deployment", "{pod-template-hash: 7d4b}", "[{kind: ReplicaSet, name: web-7d4b, controller: true}]",
       "Deployment web"},
      {"dashes", "{pod-template-hash: 7d4b}", "[{kind: ReplicaSet, name: my-web-7d4b, controller: true}]",
       "Deployment my-web"},
      {"replica set by hand", "{}", "[{kind: ReplicaSet, name: web-7d4b, controller: true}]", "ReplicaSet web-7d4b"},
      {"other hash", "{pod-template-hash: 7d4c}", "[{kind: ReplicaSet, name: web-7d4b, controller: true}]",
       "ReplicaSet web-7d4b"},
      {"only the hash", "{pod-template-hash: 7d4b}", "[{kind: ReplicaSet, name: -7d4b, controller: true}]",
       "ReplicaSet -7d4b"},
      {"hash of a job", "{pod-template-hash: 7d4b}", "[{kind: Job, name: web-7d4b, controller: true}]", "Job web-7d4b"},
      {"second is the controller", "{}", "[{kind: A, name: a}, {kind: StatefulSet, name: s, controller: true}]",
       "StatefulSet s"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto result = decoded_kind(
        "Pod", "metadata: {name: p, namespace: shop, labels: " + c.labels + ", ownerReferences: " + c.owners + "}");
    const Pod& pod = only<Pod>(result);
    EXPECT_EQ(pod.workload_kind + " " + pod.workload, c.workload);
    EXPECT_FALSE(result.has_errors());
  }
}

TEST(DecodeMeta, all_that_is_kept) {
  const auto result =
      decoded_kind("Pod",
                   "metadata: {name: web, namespace: shop, uid: u-1, generation: 3, labels: {b: '2', a: ''}, "
                   "creationTimestamp: '2024-01-01T00:00:01Z', deletionTimestamp: '2024-01-02T00:00:00Z'}");
  const ObjectMeta& meta = only<Pod>(result).meta;
  EXPECT_EQ(meta, (ObjectMeta{"shop", "web", "u-1", {{"a", ""}, {"b", "2"}}, 3, 1704067201, true}));
  EXPECT_TRUE(result.diagnostics.empty());
}

TEST(DecodeMeta, the_namespace_is_default_when_missing) {
  for (const std::string body :
       {"metadata: {name: p}", "metadata: {name: p, namespace: ''}", "metadata: {name: p, namespace: null}"}) {
    const auto result = decoded_kind("Pod", body);
    EXPECT_EQ(only<Pod>(result).meta.namespace_, "default");
    EXPECT_EQ(paths_of(result, Severity::note), Paths{"metadata.namespace"});
    EXPECT_FALSE(result.has_errors());
  }
}

struct MetaCase {
  std::string name;
  std::string metadata;
  bool kept;
  Paths errors;
};

TEST(DecodeMeta, V_11_invalid) {
  const std::vector<MetaCase> cases{
      {"missing", "null", false, {"metadata"}},
      {"a list", "[]", false, {"metadata"}},
      {"no name", "{namespace: shop}", false, {"metadata.name"}},
      {"empty name", "{name: '', namespace: shop}", false, {"metadata.name"}},
      {"name is a number", "{name: 1, namespace: shop}", false, {"metadata.name"}},
      {"name with a space", "{name: 'a b', namespace: shop}", false, {"metadata.name"}},
      {"name with a newline", "{name: \"a\\nb\", namespace: shop}", false, {"metadata.name"}},
      {"name with a slash", "{name: a/b, namespace: shop}", false, {"metadata.name"}},
      {"name of 254", "{name: " + std::string(254, 'a') + ", namespace: shop}", false, {"metadata.name"}},
      {"upper-case name", "{name: Web, namespace: shop}", true, {"metadata.name"}},
      {"V-13 name of 253", "{name: " + std::string(253, 'a') + ", namespace: shop}", true, {}},
      {"V-13 namespace of 63", "{name: p, namespace: " + std::string(63, 'a') + "}", true, {}},
      {"namespace of 64", "{name: p, namespace: " + std::string(64, 'a') + "}", true, {"metadata.namespace"}},
      {"namespace is a list", "{name: p, namespace: [shop]}", false, {"metadata.namespace"}},
      {"namespace with a slash", "{name: p, namespace: a/b}", false, {"metadata.namespace"}},
      {"labels is a list", "{name: p, namespace: shop, labels: [a]}", true, {"metadata.labels"}},
      {"label is a number", "{name: p, namespace: shop, labels: {a: 1}}", true, {"metadata.labels.a"}},
      {"label is null", "{name: p, namespace: shop, labels: {a: null}}", true, {"metadata.labels.a"}},
      {"label key", "{name: p, namespace: shop, labels: {a b: c}}", true, {"metadata.labels[\"a b\"]"}},
      {"uid is a number", "{name: p, namespace: shop, uid: 1}", true, {"metadata.uid"}},
      {"generation is a string", "{name: p, namespace: shop, generation: x}", true, {"metadata.generation"}},
      {"created is no time",
       "{name: p, namespace: shop, creationTimestamp: now}",
       true,
       {"metadata.creationTimestamp"}},
      {"owners is a map", "{name: p, namespace: shop, ownerReferences: {}}", true, {"metadata.ownerReferences"}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto result = decoded_kind("Pod", "metadata: " + c.metadata);
    EXPECT_EQ(result.objects.size(), c.kept ? 1U : 0U);
    EXPECT_EQ(paths_of(result, Severity::error), c.errors);
  }
}

TEST(DecodeMeta, a_label_that_is_no_string_is_dropped_and_one_with_a_bad_value_kept) {
  const auto result = decoded_kind("Pod", "metadata: {name: p, namespace: shop, labels: {a: 1, b: -x, c: ok}}");
  EXPECT_EQ(only<Pod>(result).meta.labels, (Labels{{"b", "-x"}, {"c", "ok"}}));
}

TEST(DecodeNamespace, L_11_has_the_label_with_its_name) {
  const auto plain = decoded_kind("Namespace", "metadata: {name: shop, labels: {z: '1', a: '2'}}");
  EXPECT_EQ(only<Namespace>(plain).meta.labels,
            (Labels{{"a", "2"}, {"kubernetes.io/metadata.name", "shop"}, {"z", "1"}}));
  EXPECT_TRUE(plain.diagnostics.empty());
  const auto wrong = decoded_kind("Namespace", "metadata: {name: shop, labels: {kubernetes.io/metadata.name: prod}}");
  EXPECT_EQ(only<Namespace>(wrong).meta.labels, (Labels{{"kubernetes.io/metadata.name", "shop"}}));  // L-10
  EXPECT_EQ(paths_of(wrong, Severity::warning), Paths{"metadata.labels[\"kubernetes.io/metadata.name\"]"});
}

TEST(DecodeNode, addresses_and_pod_ranges) {
  const auto result =
      decoded_kind("Node",
                   "metadata: {name: n1}\n"
                   "spec: {podCIDR: 10.0.0.0/24, podCIDRs: [10.0.0.0/24, 'fd00::/64']}\n"
                   "status: {addresses: [{type: InternalIP, address: 192.0.2.9}, {type: Hostname, address: n1}, "
                   "{type: InternalIP, address: '2001:db8::9'}, {type: ExternalIP, address: 192.0.2.1}]}");
  const Node& node = only<Node>(result);
  EXPECT_EQ(node.addresses, (std::vector{ip("192.0.2.1"), ip("192.0.2.9"), ip("2001:db8::9")}));  // N-02, 6-07
  EXPECT_EQ(node.pod_cidrs, (std::vector{cidr("10.0.0.0/24"), cidr("fd00::/64")}));
  EXPECT_TRUE(result.diagnostics.empty());
}

TEST(DecodeNode, V_11_invalid_parts_are_dropped) {
  const auto result =
      decoded_kind("Node",
                   "metadata: {name: n1}\nspec: {podCIDR: x, podCIDRs: [1, 10.0.0.0/24]}\n"
                   "status: {addresses: [{type: InternalIP, address: x}, 1, {address: [2]}, {type: InternalIP}]}");
  EXPECT_EQ(only<Node>(result).pod_cidrs, (std::vector{cidr("10.0.0.0/24")}));
  EXPECT_EQ(paths_of(result, Severity::error), (Paths{"spec.podCIDRs[0]", "spec.podCIDR", "status.addresses[0].address",
                                                      "status.addresses[1]", "status.addresses[2].address"}));
}

}  // namespace
}  // namespace podfence::api
