"""Jobs, StatefulSets, bare pods, pods on the host's network, and addresses that go from one pod to the next: a part of
cluster_test.py."""
import contextlib
import ipaddress
import os
import socket

from cluster_case import ALLOWED, FORBIDDEN, NETWORKING, PORT, Case, bare_pod, pod_spec, policy, prober, workload
from control_plane import until

from host import inside  # noqa: E402, from tests/runtime
from wire import Wire  # noqa: E402

LEASES = "/var/lib/cni/networks/pods"  # of Debian's host-local


def addresses_of(pod):
    return [a["ip"] for a in pod["status"].get("podIPs", [])]


def is_free(node, address):
    return node.run("test", "-e", f"{LEASES}/{address}", check=False).returncode != 0


def let_next_pod_have(node, addresses):
    """Of host-local, which otherwise goes once around its range."""
    for number, address in enumerate(addresses):
        before = ipaddress.ip_address(address) - 1
        node.run("sh", "-c", f"printf %s {before} > {LEASES}/last_reserved_ip.{number}")


def ask_to_end(netns, address):
    with inside(netns):
        client = socket.socket()
    with contextlib.closing(client):
        client.settimeout(10)
        client.connect((address, PORT))
        client.sendall(b"GET /exit?code=0 HTTP/1.0\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            client.recv(100)


class Workloads(Case):
    def test_jobs_stateful_sets_and_bare_pods(self):  # D-10 D-12 D-13
        self.namespaces("work")
        api = self.cluster.api()
        one, two = self.cluster.nodes
        api.create("services", {"metadata": {"name": "db"}, "spec": {
            "clusterIP": "None", "selector": {"app": "db"}, "ports": [{"port": PORT}], "ipFamilyPolicy": "RequireDualStack"}}, "work")  # fmt: skip
        api.create("statefulsets", workload("db", two, {}, serviceName="db", replicas=2), "work", "apps/v1")
        for name in ("client", "stranger"):
            api.create("pods", bare_pod(name, one), "work")
        api.create("jobs", {"metadata": {"name": "batch"}, "spec": {"template": {
            "metadata": {"labels": {"app": "batch"}}, "spec": pod_spec(two, restartPolicy="Never")}}}, "work", "batch/v1")  # fmt: skip
        api.create("networkpolicies", policy("to-db", {"app": "db"}, ingress=[{"from": [
            {"podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["client", "batch"]}]}}]}]),
            "work", NETWORKING)  # fmt: skip
        self.until_ready("work", 5)
        count, allowed = self.assert_equal_soon("a StatefulSet, a Job and bare pods", "work")
        self.assertEqual((count, allowed), (40, 40 - 4 * 2))  # not: stranger to db, db to db
        until(lambda: self.members("db") == {a for n in (0, 1) for a in addresses_of(self.cluster.pods("work")[f"db-{n}"])},
              "the headless Service has the pods' addresses")
        self.complete("batch", two)  # a bridge would know the address by its last owner's for half a minute
        pods = self.cluster.pods("work")
        self.assert_equal_soon("a completed Job", "work")
        before = pods["db-0"]["metadata"]["uid"]
        api.delete("pods", "db-0", "work")
        until(lambda: self.cluster.pods("work").get("db-0", pods["db-0"])["metadata"]["uid"] != before, "db-0 is another pod", 120)
        self.until_ready("work", 5)
        self.assertEqual(self.assert_equal_soon("db-0 once more", "work"), (40, 40 - 6 * 2))
        api.patch("statefulsets", "db", {"spec": {"replicas": 1}}, "work", "apps/v1")
        until(lambda: "db-1" not in self.cluster.pods("work"), "db-1 is gone", 120)
        self.assert_equal_soon("a replica less", "work")

    def complete(self, job, node):
        """It completes, its pod stays in the API, and another pod gets its addresses but not what it was allowed."""
        api = self.cluster.api()
        (name, pod), = ((n, p) for n, p in self.cluster.pods("work").items() if n.startswith(f"{job}-"))
        addresses = addresses_of(pod)
        ask_to_end(self.live_pods("work")["work", name][0], addresses[0])
        until(lambda: self.cluster.pods("work")[name]["status"]["phase"] == "Succeeded", f"{name} has succeeded", 120)
        until(lambda: all(is_free(node, address) for address in addresses), f"its addresses {addresses} are free", 120)
        let_next_pod_have(node, addresses)
        api.create("pods", bare_pod("late", node), "work")
        pods = self.until_ready("work", 5)
        self.assertEqual(pods["work", "late"][1], addresses)
        self.assertEqual(addresses_of(self.cluster.pods("work")[name]), addresses, "the API shows both")

    def members(self, service):
        slices = self.cluster.api().list("endpointslices", "work", "discovery.k8s.io/v1")
        return {address for s in slices if s["metadata"]["labels"].get("kubernetes.io/service-name") == service
                for endpoint in s["endpoints"] or [] for address in endpoint["addresses"]}  # fmt: skip

    def test_the_hosts_network(self):
        """N-01 N-03 N-04 N-05 N-06 N-07 P-15: a pod on it is the node, whatever its labels say."""
        self.namespaces("hosts")
        api = self.cluster.api()
        one, two = self.cluster.nodes
        for node in self.cluster.nodes:
            api.create("pods", bare_pod(f"host-{node.number}", node, {"role": "host"}, hostNetwork=True), "hosts")
            api.create("pods", bare_pod(f"pod-{node.number}", node), "hosts")
        self.until_ready("hosts", 4)
        self.assertEqual(self.assert_equal_soon("pods on the hosts' network", "hosts"), (24, 24))
        api.create("networkpolicies", policy("closed", {}, policyTypes=["Ingress", "Egress"]), "hosts", NETWORKING)
        api.create("networkpolicies", policy("from-host", {}, ingress=[{"from": [
            {"podSelector": {"matchLabels": {"role": "host"}}}]}]), "hosts", NETWORKING)  # fmt: skip
        # Hosts to each other, and each to its own pod and back.
        self.assertEqual(self.assert_equal_soon("all closed but to that label", "hosts"), (24, 2 * (2 + 2 + 2)))
        api.create("networkpolicies", policy("from-node", {"app": "pod-2"}, ingress=[{"from": [
            {"ipBlock": {"cidr": f"{one.address}/32"}}]}]), "hosts", NETWORKING)  # fmt: skip
        self.assertEqual(self.assert_equal_soon("but to the address of node-1", "hosts"), (24, 13))

    def test_an_address_that_is_used_again_at_once(self):
        """D-11 D-13 X-03: on both nodes, and by packets of the same flow: what was allowed to the one before is not to the next."""
        self.namespaces("again")
        api = self.cluster.api()
        targets = [(address, 9000) for address in (FORBIDDEN, ALLOWED)]
        for role, allowed in (("friend", (FORBIDDEN, ALLOWED)), ("stranger", (ALLOWED,))):
            api.create("networkpolicies", policy(role, {"role": role}, policyTypes=["Egress"], egress=[{"to": [
                {"ipBlock": {"cidr": f"{address}/32"}} for address in allowed]}]), "again", NETWORKING)  # fmt: skip
        wire = Wire(f"/proc/{os.getpid()}/ns/net")
        self.addCleanup(wire.close)

        def talks(name, address):
            return any(p.text.startswith(f"{name} ") and p.destination == address for p in wire.all())

        for node in self.cluster.nodes:
            api.create("pods", prober(f"friend-{node.number}", node, *targets, role="friend"), "again")
        names = [f"friend-{node.number}" for node in self.cluster.nodes]
        friends = self.cluster.until_running("again", *names)
        for name in names:
            until(lambda name=name: talks(name, FORBIDDEN), f"{name} reaches both", 60)
            api.delete("pods", name, "again")
        for node in self.cluster.nodes:
            addresses = addresses_of(friends[f"friend-{node.number}"])
            until(lambda: all(is_free(node, address) for address in addresses), f"{addresses} are free", 120)  # noqa: B023
            let_next_pod_have(node, addresses)
            start = len(wire.all())
            name = f"stranger-{node.number}"
            api.create("pods", prober(name, node, *targets, role="stranger"), "again")
            pod = self.cluster.until_running("again", name)[name]
            self.assertEqual(addresses_of(pod), addresses)
            until(lambda: talks(name, ALLOWED), f"{name} talks to its peer", 60)  # noqa: B023
            self.assertEqual([p for p in wire.all(start) if p.destination == FORBIDDEN and p.source in addresses], [])
