#!/usr/bin/env python3
"""Podfence on a real two-node Kubernetes cluster: cluster_test.py --program PODFENCE --plugin PODFENCE_CNI --probe PROBE"""
import contextlib
import os
import random
import signal
import socket
import subprocess
import time

from cluster_case import ALLOWED, NETWORKING, Case, Outside, bare_pod, connects, deployment, main, policy, prober
from control_plane import until
from datagrams import Datagrams
from podfence import IMAGE as AGENT_IMAGE
from podfence import OTHER_IMAGE
from workloads import Workloads  # noqa: F401, a part of this test

from host import inside  # noqa: E402, from tests/runtime


class Matrix(Case):
    """What connects is what the evaluator says of the API server's own objects, after every change."""

    def test_every_change(self):
        api = self.cluster.api()
        self.namespaces("shop", "db")
        for namespace in ("shop", "db"):
            for node in self.cluster.nodes:
                api.create("deployments", deployment(f"app-{node.number}", node, tier=namespace), namespace, "apps/v1")
        for namespace in ("shop", "db"):
            self.until_ready(namespace, 2)  # the kubelet's probes pass
        both = ("shop", "db")
        count, allowed = self.assert_equal_soon("no policy", *both)
        self.assertEqual((count, allowed), (24, 24))
        api.create("networkpolicies", policy("closed", {}, policyTypes=["Ingress"]), "db", NETWORKING)
        self.assertEqual(self.assert_equal_soon("default deny in db", *both)[1], 24 - 12)
        api.create("networkpolicies", policy("from-shop", {"app": "app-1"}, ingress=[{"from": [
            {"namespaceSelector": {"matchLabels": {"team": "shop"}}, "podSelector": {"matchLabels": {"app": "app-2"}}}],
            "ports": [{"port": 8080}]}]), "db", NETWORKING)  # fmt: skip
        self.assertEqual(self.assert_equal_soon("one app of shop may", *both)[1], 24 - 12 + 2)
        api.patch("namespaces", "shop", {"metadata": {"labels": {"team": "other"}}})
        self.assertEqual(self.assert_equal_soon("shop is another team's", *both)[1], 24 - 12)
        api.patch("namespaces", "shop", {"metadata": {"labels": {"team": "shop"}}})
        api.create("networkpolicies", policy("no-way-out", {"app": "app-2"}, policyTypes=["Egress"]), "shop", NETWORKING)
        self.assert_equal_soon("no egress for that app", *both)
        api.delete("networkpolicies", "no-way-out", "shop", NETWORKING)
        name = next(n for n in self.cluster.pods("shop") if n.startswith("app-1-"))
        api.patch("pods", name, {"metadata": {"labels": {"app": "app-2"}}}, "shop")
        self.until_ready("shop", 3)  # its Deployment makes another
        self.assert_equal_soon("a pod has another label", *both)
        api.patch("deployments", "app-2", {"spec": {"template": {"metadata": {"labels": {"round": "2"}}}}}, "db", "apps/v1")
        api.delete("pods", name, "shop")
        self.cluster.kubectl("rollout", "status", "-n", "db", "deployment/app-2", "--timeout=120s")
        until(lambda: len(self.cluster.pods("db")) == 2 and len(self.cluster.pods("shop")) == 2, "the old pods are gone")
        self.assert_equal_soon("a rolling update and a deletion", *both)
        api.delete("networkpolicies", "closed", "db", NETWORKING)
        self.assert_equal_soon("a policy less", *both)


class DropIn(Case):
    def test_containerd_2_reads_it(self):
        """libcni 1.3 adds and deletes with a drop-in; the network's own list is not touched. And back again."""
        self.namespaces("drop")
        lists = [node.run("cat", "/etc/cni/net.d/10-pods.conflist").stdout for node in self.cluster.nodes]
        self.podfence.install("--set", "cni.mode=drop-in", "--set", "cni.extraArgs={--unverified}", chain="pods/zz-podfence.conf")
        self.addCleanup(self.podfence.install)
        for node, text in zip(self.cluster.nodes, lists):
            self.assertEqual(node.run("cat", "/etc/cni/net.d/10-pods.conflist").stdout, text)
            self.assertNotIn("00-podfence", node.run("ls", "/etc/cni/net.d").stdout)
            self.cluster.api().create("deployments", deployment(f"app-{node.number}", node), "drop", "apps/v1")
        pods = {name for _, name in self.until_ready("drop", 2)}

        def attached():
            return {a["pod"] for node in self.cluster.nodes for a in self.podfence.status(node)["attachments"]}

        self.assertEqual(attached() & pods, pods)
        for node in self.cluster.nodes:
            self.cluster.api().delete("deployments", f"app-{node.number}", "drop", "apps/v1")
        until(lambda: not attached() & pods, "they were deleted with it too", 60)


class Services(Case):
    """S-01 S-02 S-03 S-10: the verdict is on the pod that kube-proxy has chosen, whatever address was called."""

    def service(self, name, namespace, **spec):
        made = self.cluster.api().create("services", {"metadata": {"name": name}, "spec": {
            "selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": 8080, "protocol": "TCP"}],
            "ipFamilyPolicy": "RequireDualStack", **spec}}, namespace)  # fmt: skip
        return made["spec"]["clusterIPs"], made["spec"]["ports"][0].get("nodePort")

    def test_cluster_addresses_and_node_ports(self):
        self.namespaces("front", "back")
        api = self.cluster.api()
        one, two = self.cluster.nodes
        api.create("deployments", deployment("server", one), "back", "apps/v1")
        for name, node in (("friend", two), ("stranger", two), ("neighbour", one)):
            api.create("deployments", deployment(name, node), "front", "apps/v1")
        virtual, port = self.service("server", "back", type="NodePort")
        server = next(iter(self.until_ready("back", 1).values()))
        pods = {name.split("-")[0]: netns for (_, name), (netns, _) in self.until_ready("front", 3).items()}
        pods["server"] = server[0]
        targets = [*((address, 80) for address in virtual), (one.address, port), *((a, 8080) for a in server[1])]

        def reached(name):
            return [connects(pods[name], *target) for target in targets]

        until(lambda: all(all(reached(name)) for name in pods), "all reach the Service without policies", 60)
        api.create("networkpolicies", policy("friends", {"app": "server"}, ingress=[{"from": [
            {"namespaceSelector": {"matchLabels": {"team": "front"}}, "podSelector": {"matchLabels": {"app": "friend"}}}],
            "ports": [{"port": 8080}]}]), "back", NETWORKING)  # fmt: skip
        wanted = {"friend": True, "stranger": False, "neighbour": False}
        # A node port may bring the node's own address to the pod, which is no peer; the others keep the pod's.
        direct = [number for number, target in enumerate(targets) if target != (one.address, port)]

        def as_wanted():
            self.found = {name: reached(name) for name in wanted}
            return all(all(self.found[name][n] == want for n in direct) for name, want in wanted.items())

        try:
            until(as_wanted, "the pod behind the Service is judged", 30)
        except AssertionError as error:
            raise AssertionError(f"{error}: {targets}: {self.found}") from error
        self.assertEqual([self.found[name][2] for name in ("stranger", "neighbour")], [False, False])
        self.assertTrue(all(connects(pods["server"], address, 8080) for address in server[1]), "a pod reaches itself")
        api.create("networkpolicies", policy("out", {"app": "friend"}, policyTypes=["Egress"], egress=[{"to": [
            {"ipBlock": {"cidr": f"{virtual[0]}/32"}}]}]), "front", NETWORKING)  # fmt: skip
        until(lambda: not any(reached("friend")), "a rule for the Service's address admits nobody", 30)


class Scoped(Case):
    def test_only_pods_that_policies_of_the_node_can_name(self):
        """--watch needed beside cluster: the same verdicts, less to read."""
        self.namespaces("near", "far")
        api = self.cluster.api()
        one, two = self.cluster.nodes
        api.create("deployments", deployment("server", one), "near", "apps/v1")
        api.create("deployments", deployment("client", two), "near", "apps/v1")
        api.create("deployments", deployment("client", two, 2), "far", "apps/v1")
        api.create("networkpolicies", policy("from-near", {"app": "server"}, ingress=[{"from": [
            {"namespaceSelector": {"matchLabels": {"team": "near"}}, "podSelector": {"matchLabels": {"app": "client"}}}]}]),
            "near", NETWORKING)  # fmt: skip
        self.until_ready("near", 2)
        self.until_ready("far", 2)
        mine = {"near", "far", "kube-system"}
        until(lambda: {p["metadata"]["namespace"] for p in api.list("pods")} <= mine, "pods of other tests are gone", 240)
        received = {"cluster": self.received(one, "cluster")}
        self.podfence.install("--set", "agent.extraArgs={--watch=needed}")
        self.addCleanup(self.podfence.install)
        self.assert_equal_soon("watched as needed", "near", "far")
        received["needed"] = self.received(one, "needed")
        for watch, (listed, size, events) in received.items():
            print(f"  {watch:8} {listed:7} bytes of pods at first, then {size:7} bytes and {events:3} events of 41 changes", flush=True)
        self.assertGreaterEqual(received["cluster"][2], 41)
        self.assertLess(received["needed"][2] * 4, received["cluster"][2])
        self.assertLess(received["needed"][1] * 4, received["cluster"][1])
        api.patch("namespaces", "far", {"metadata": {"labels": {"team": "near"}}})
        self.assertEqual(self.assert_equal_soon("one more namespace is needed", "near", "far"), (24, 24))

    def received(self, node, watch):
        """What that node's agent has got of pods: bytes before, then bytes and events of 40 changes of far's pods and one
        of a pod that a policy here names."""
        api = self.cluster.api()
        (listed, before), names = self.pods_received(node), sorted(self.cluster.pods("far"))
        for number in range(40):
            api.patch("pods", names[number % 2], {"metadata": {"labels": {"round": f"{watch}-{number}"}}}, "far")
        client = next(n for n in self.cluster.pods("near") if n.startswith("client"))
        api.patch("pods", client, {"metadata": {"labels": {"round": watch}}}, "near")
        least = 41 if watch == "cluster" else 1
        until(lambda: self.pods_received(node)[1] - before >= least, f"{watch}: the changes have come", 60)
        size, events = self.pods_received(node)
        return listed, size - listed, events - before

    def pods_received(self, node):
        types = [t for t in self.podfence.status(node)["kubernetes"] if "pods" in t["type"]]
        return sum(t["bytes"] for t in types), sum(t["events"] for t in types)


class Tools(Case):
    def test_exec_logs_and_port_forward_under_default_deny(self):
        self.namespaces("quiet")
        api = self.cluster.api()
        api.create("networkpolicies", policy("closed", {}, policyTypes=["Ingress", "Egress"]), "quiet", NETWORKING)
        api.create("deployments", deployment("app", self.cluster.nodes[0]), "quiet", "apps/v1")
        (_, name), (_, addresses) = next(iter(self.until_ready("quiet", 1).items()))  # its probe passes
        self.assertIn("Usage:", self.cluster.kubectl("exec", "-n", "quiet", name, "--", "/agnhost", "--help").stdout)
        self.assertIn("8080", self.cluster.kubectl("logs", "-n", "quiet", name).stdout)
        with inside(self.cluster.nodes[1].netns):
            self.assertFalse(connects(f"/proc/{os.getpid()}/ns/net", addresses[0], 8080), "another node is no exception")
        command = [os.path.join(self.cluster.kubernetes, "kubectl"), f"--kubeconfig={self.cluster.plane.kubeconfig('admin')}",
                   "port-forward", "-n", "quiet", f"pod/{name}", "18080:8080"]
        forward = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.addCleanup(lambda: (forward.kill(), forward.wait(), forward.stdout.close()))
        self.assertIn("Forwarding", forward.stdout.readline())
        with socket.create_connection(("127.0.0.1", 18080), 10) as client:
            client.settimeout(10)
            client.sendall(b"GET /hostname HTTP/1.0\r\n\r\n")
            self.assertIn(name, client.makefile().read())


class Upgrade(Case):
    def test_another_image_and_back(self):
        """helm upgrade and helm rollback go node by node: meanwhile every datagram of who may arrives, and none of another."""
        self.namespaces("live")
        api = self.cluster.api()
        one, two = self.cluster.nodes
        for name, node in (("server", one), ("friend", two), ("neighbour", one), ("stranger", two)):
            api.create("pods", bare_pod(name, node, {"role": "friend" if name in ("friend", "neighbour") else "none"}), "live")
        api.create("networkpolicies", policy("friends", {"app": "server"}, ingress=[{"from": [
            {"podSelector": {"matchLabels": {"role": "friend"}}}]}]), "live", NETWORKING)
        pods = {name: pod for (_, name), pod in self.until_ready("live", 4).items()}
        netns, addresses = pods["server"]

        def wanted():
            return all(connects(pods[name][0], address, 8080) == (name != "stranger")
                       for name in pods if name != "server" for address in addresses)  # fmt: skip

        until(wanted, "friends alone reach the server", 60)
        traffic = Datagrams(netns, addresses, {name: pods[name][0] for name in ("friend", "neighbour", "stranger")})
        try:
            for step, image in ((self.podfence.to_other_image, OTHER_IMAGE), (self.podfence.rollback, AGENT_IMAGE)):
                step()
                self.assertEqual(self.podfence.images(), {image})
        finally:
            found = traffic.end()
        print("  " + ", ".join(f"{name}: {sent} sent, {len(lost)} lost" for name, (sent, lost) in found.items()), flush=True)
        for name, (sent, lost) in found.items():
            self.assertGreater(sent, 500)
            self.assertEqual(len(lost), sent if name == "stranger" else 0, (name, lost[:20]))


class NoGap(Case):
    def test_first_packets_while_agents_are_killed_and_rolled(self):
        seed = int(os.environ.get("PODFENCE_SEED", random.randrange(1 << 30)))
        count = int(os.environ.get("PODFENCE_CLUSTER_PODS", 80))
        print(f"  PODFENCE_SEED={seed} PODFENCE_CLUSTER_PODS={count}", flush=True)
        dice = random.Random(seed)
        self.namespaces("burst")
        api = self.cluster.api()
        api.create("networkpolicies", policy("one-peer", {}, policyTypes=["Ingress", "Egress"], egress=[
            {"to": [{"ipBlock": {"cidr": f"{ALLOWED}/32"}}]}]), "burst", NETWORKING)  # fmt: skip
        until(lambda: all(self.podfence.status(n)["counts"]["policies"] for n in self.cluster.nodes), "the agents know of it")
        outside = Outside()
        self.addCleanup(outside.wire.close)

        def make(number):
            api.create("pods", prober(f"burst-{number}", dice.choice(self.cluster.nodes), *outside.targets), "burst")
            return f"burst-{number}"

        names = [make(number) for number in range(count // 2)]
        kills = 0
        for _ in range(4):
            time.sleep(dice.random() * 2)
            kills += self.kill_an_agent(dice)
        names += [make(number) for number in range(count // 2, count)]
        self.cluster.kubectl("rollout", "restart", "-n", "kube-system", "daemonset/podfence")
        self.cluster.kubectl("rollout", "status", "-n", "kube-system", "daemonset/podfence", "--timeout=240s")
        outside.until_talking(names, "every pod talks to its peer")
        self.assertEqual(outside.forbidden, [])
        attached = sum(len(self.podfence.status(node)["attachments"]) for node in self.cluster.nodes)
        self.assertGreaterEqual(attached, count)
        print(f"  {count} pods, {kills} agents killed, one roll of the DaemonSet: 0 forbidden packets", flush=True)

    def kill_an_agent(self, dice):
        pids = self.pids()
        pod = dice.choice(list(self.podfence.pods().values()))
        for status in pod["status"].get("containerStatuses", []):
            pid = pids.get(status.get("containerID", "").removeprefix("containerd://"))
            if status["name"] == "agent" and pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    return 1
        return 0


if __name__ == "__main__":
    main()
