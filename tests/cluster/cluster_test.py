#!/usr/bin/env python3
"""Podfence on a real two-node Kubernetes cluster: cluster_test.py --program PODFENCE --plugin PODFENCE_CNI --probe PROBE"""
import argparse
import concurrent.futures
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import unittest

from cluster import Cluster, programs
from control_plane import until
from node import BRIDGE, IMAGE
from podfence import Podfence

from host import enter, inside, run  # noqa: E402, from tests/runtime
from wire import Wire  # noqa: E402

OPTIONS = argparse.Namespace()
PROBE = "localhost/probe:1"
FORBIDDEN, ALLOWED = "10.200.0.7", "10.200.0.8"  # outside of the cluster
NETWORKING = "networking.k8s.io/v1"
cluster = podfence = None


def setUpModule():
    global cluster, podfence
    cluster = Cluster(programs("kubernetes"), programs("containerd"))
    unittest.addModuleCleanup(cluster.close)
    for address in (FORBIDDEN, ALLOWED):
        run("ip", "addr", "add", f"{address}/24", "dev", BRIDGE)
    cluster.start()
    for node in cluster.nodes:
        node.add_image(PROBE, OPTIONS.probe, [])
    podfence = Podfence(cluster, OPTIONS.program, OPTIONS.plugin, os.path.join(programs("helm"), "helm"))
    begin = time.monotonic()
    podfence.install()
    print(f"  podfence ready on both nodes after {time.monotonic() - begin:.1f} s", flush=True)


def netexec(**more):
    return {"name": "main", "image": IMAGE, "imagePullPolicy": "Never",
            "command": ["/agnhost", "netexec", "--http-port=8080", "--udp-port=8081"], **more}


def deployment(name, node, replicas=1, **labels):
    labels = {"app": name, **labels}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": labels}, "spec": {
                "terminationGracePeriodSeconds": 0, "nodeSelector": {"kubernetes.io/hostname": node.name}, "containers": [netexec(
                    readinessProbe={"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1})]}}}}  # fmt: skip


def policy(name, selector, **spec):
    return {"apiVersion": NETWORKING, "kind": "NetworkPolicy", "metadata": {"name": name},
            "spec": {"podSelector": {"matchLabels": selector}, **spec}}


def make_namespace(name):
    api = cluster.api()
    api.create("namespaces", {"metadata": {"name": name, "labels": {"team": name}}})
    until(lambda: [a for a in api.list("serviceaccounts", name) if a["metadata"]["name"] == "default"], f"{name} has an account")


class Case(unittest.TestCase):
    def namespaces(self, *names):
        for name in names:
            self.addCleanup(cluster.api().delete, "namespaces", name)
            make_namespace(name)

    def pids(self):
        """Of every container: its first process."""
        found = {}
        for node in cluster.nodes:
            for line in node.ctr("tasks", "ls").stdout.splitlines():
                words = line.split()
                if len(words) > 2 and words[1].isdigit():
                    found[words[0]] = int(words[1])
        return found

    def live_pods(self, *namespaces):
        """Ready pods that are not about to end: (namespace, name) to (netns, addresses)."""
        pids, found = self.pids(), {}
        for namespace in namespaces:
            for name, pod in cluster.pods(namespace).items():
                statuses = pod["status"].get("containerStatuses", [])
                if "deletionTimestamp" in pod["metadata"] or not statuses or not all(s["ready"] for s in statuses):
                    continue
                pid = pids.get(statuses[0]["containerID"].removeprefix("containerd://"))
                if pid:
                    found[namespace, name] = (f"/proc/{pid}/ns/net", [a["ip"] for a in pod["status"]["podIPs"]])
        return found

    def until_ready(self, namespace, count):
        return until(lambda: len(self.live_pods(namespace)) == count and self.live_pods(namespace),
                     f"{count} pods of {namespace} are ready", 240)


def connects(netns, address, port, seconds=1):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with inside(netns):
        client = socket.socket(family, socket.SOCK_STREAM)
    with contextlib.closing(client):
        client.settimeout(seconds)
        try:
            client.connect((address, port))
        except OSError:
            return False
    return True


class Matrix(Case):
    """What connects is what the evaluator says of the API server's own objects, after every change."""

    def flows(self, pods):
        flows = []
        for source, (netns, addresses) in pods.items():
            for destination, (_, targets) in pods.items():
                for own, target in zip(addresses, targets):
                    if source != destination:
                        flows.append((netns, own, target))
        return flows

    def expected(self, flows):
        folder = os.path.join(cluster.root, "objects")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "all.json"), "w", encoding="utf-8") as file:
            file.write(cluster.kubectl("get", "ns,nodes,pods,netpol", "-A", "-o", "json").stdout)
        path = os.path.join(cluster.root, "flows.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump([{"from": own, "to": target, "port": 8080, "protocol": "TCP"} for _, own, target in flows], file)
        done = subprocess.run([OPTIONS.program, "simulate", "--objects", folder, "--flows", path, "-o", "json"], text=True,
                              capture_output=True)
        if done.returncode != 0:
            raise AssertionError(f"simulate: {done.stdout[-2000:]}{done.stderr}")
        return [flow["verdict"] == "allow" for flow in json.loads(done.stdout)]

    @staticmethod
    def seen(flows):
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            return list(pool.map(lambda flow: connects(flow[0], flow[2], 8080), flows))

    def assert_equal_soon(self, what, *namespaces):
        """Waits generously, and says how long it took."""
        begin = time.monotonic()

        def equal():
            flows = self.flows(self.live_pods(*namespaces))
            wanted, seen = self.expected(flows), self.seen(flows)
            self.differing = [(own, target, want) for (_, own, target), want, saw in zip(flows, wanted, seen) if want != saw]
            self.counts = (len(flows), sum(wanted))
            return not self.differing

        try:
            until(equal, f"{what}: what connects is what the evaluator says", 30)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.differing}\n{podfence.words()}") from error
        print(f"  {what}: {self.counts[0]} flows, {self.counts[1]} allowed, equal within {time.monotonic() - begin:.1f} s", flush=True)
        return self.counts

    def test_every_change(self):
        api = cluster.api()
        self.namespaces("shop", "db")
        for namespace in ("shop", "db"):
            for node in cluster.nodes:
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
        name = next(n for n in cluster.pods("shop") if n.startswith("app-1-"))
        api.patch("pods", name, {"metadata": {"labels": {"app": "app-2"}}}, "shop")
        self.until_ready("shop", 3)  # its Deployment makes another
        self.assert_equal_soon("a pod has another label", *both)
        api.patch("deployments", "app-2", {"spec": {"template": {"metadata": {"labels": {"round": "2"}}}}}, "db", "apps/v1")
        api.delete("pods", name, "shop")
        cluster.kubectl("rollout", "status", "-n", "db", "deployment/app-2", "--timeout=120s")
        until(lambda: len(cluster.pods("db")) == 2 and len(cluster.pods("shop")) == 2, "the old pods are gone")
        self.assert_equal_soon("a rolling update and a deletion", *both)
        api.delete("networkpolicies", "closed", "db", NETWORKING)
        self.assert_equal_soon("a policy less", *both)


class DropIn(Case):
    def test_containerd_2_reads_it(self):
        """libcni 1.3 adds and deletes with a drop-in; the network's own list is not touched. And back again."""
        self.namespaces("drop")
        lists = [node.run("cat", "/etc/cni/net.d/10-pods.conflist").stdout for node in cluster.nodes]
        podfence.install("--set", "cni.mode=drop-in", "--set", "cni.extraArgs={--unverified}", chain="pods/zz-podfence.conf")
        self.addCleanup(podfence.install)
        for node, text in zip(cluster.nodes, lists):
            self.assertEqual(node.run("cat", "/etc/cni/net.d/10-pods.conflist").stdout, text)
            self.assertNotIn("00-podfence", node.run("ls", "/etc/cni/net.d").stdout)
            cluster.api().create("deployments", deployment(f"app-{node.number}", node), "drop", "apps/v1")
        pods = {name for _, name in self.until_ready("drop", 2)}

        def attached():
            return {a["pod"] for node in cluster.nodes for a in podfence.status(node)["attachments"]}

        self.assertEqual(attached() & pods, pods)
        for node in cluster.nodes:
            cluster.api().delete("deployments", f"app-{node.number}", "drop", "apps/v1")
        until(lambda: not attached() & pods, "they were deleted with it too", 60)


class Services(Case):
    """S-01 S-02 S-03 S-10: the verdict is on the pod that kube-proxy has chosen, whatever address was called."""

    def service(self, name, namespace, **spec):
        made = cluster.api().create("services", {"metadata": {"name": name}, "spec": {
            "selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": 8080, "protocol": "TCP"}],
            "ipFamilyPolicy": "RequireDualStack", **spec}}, namespace)  # fmt: skip
        return made["spec"]["clusterIPs"], made["spec"]["ports"][0].get("nodePort")

    def test_cluster_addresses_and_node_ports(self):
        self.namespaces("front", "back")
        api = cluster.api()
        one, two = cluster.nodes
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


class Tools(Case):
    def test_exec_logs_and_port_forward_under_default_deny(self):
        self.namespaces("quiet")
        api = cluster.api()
        api.create("networkpolicies", policy("closed", {}, policyTypes=["Ingress", "Egress"]), "quiet", NETWORKING)
        api.create("deployments", deployment("app", cluster.nodes[0]), "quiet", "apps/v1")
        (_, name), (_, addresses) = next(iter(self.until_ready("quiet", 1).items()))  # its probe passes
        self.assertIn("Usage:", cluster.kubectl("exec", "-n", "quiet", name, "--", "/agnhost", "--help").stdout)
        self.assertIn("8080", cluster.kubectl("logs", "-n", "quiet", name).stdout)
        with inside(cluster.nodes[1].netns):
            self.assertFalse(connects(f"/proc/{os.getpid()}/ns/net", addresses[0], 8080), "another node is no exception")
        command = [os.path.join(cluster.kubernetes, "kubectl"), f"--kubeconfig={cluster.plane.kubeconfig('admin')}",
                   "port-forward", "-n", "quiet", f"pod/{name}", "18080:8080"]
        forward = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.addCleanup(lambda: (forward.kill(), forward.wait(), forward.stdout.close()))
        self.assertIn("Forwarding", forward.stdout.readline())
        with socket.create_connection(("127.0.0.1", 18080), 10) as client:
            client.settimeout(10)
            client.sendall(b"GET /hostname HTTP/1.0\r\n\r\n")
            self.assertIn(name, client.makefile().read())


class NoGap(Case):
    def test_first_packets_while_agents_are_killed_and_rolled(self):
        seed = int(os.environ.get("PODFENCE_SEED", random.randrange(1 << 30)))
        count = int(os.environ.get("PODFENCE_CLUSTER_PODS", 40))
        print(f"  PODFENCE_SEED={seed} PODFENCE_CLUSTER_PODS={count}", flush=True)
        dice = random.Random(seed)
        self.namespaces("burst")
        api = cluster.api()
        api.create("networkpolicies", policy("one-peer", {}, policyTypes=["Ingress", "Egress"], egress=[
            {"to": [{"ipBlock": {"cidr": f"{ALLOWED}/32"}}]}]), "burst", NETWORKING)  # fmt: skip
        until(lambda: all(podfence.status(n)["counts"]["policies"] for n in cluster.nodes), "the agents know of it")
        wire = Wire(f"/proc/{os.getpid()}/ns/net")
        self.addCleanup(wire.close)
        targets = [f"{address},9000,{protocol}" for address in (FORBIDDEN, ALLOWED) for protocol in ("udp", "tcp")]

        def make(number):
            name = f"burst-{number}"
            api.create("pods", {"metadata": {"name": name}, "spec": {
                "nodeName": dice.choice(cluster.nodes).name, "terminationGracePeriodSeconds": 0, "containers": [
                    {"name": "main", "image": PROBE, "imagePullPolicy": "Never", "args": ["-", "100", *targets]}]}}, "burst")  # fmt: skip
            return name

        names = [make(number) for number in range(count // 2)]
        kills = 0
        for _ in range(4):
            time.sleep(dice.random() * 2)
            kills += self.kill_an_agent(dice)
        names += [make(number) for number in range(count // 2, count)]
        cluster.kubectl("rollout", "restart", "-n", "kube-system", "daemonset/podfence")
        cluster.kubectl("rollout", "status", "-n", "kube-system", "daemonset/podfence", "--timeout=240s")
        cluster.until_running("burst", *names, seconds=240)

        def talked():
            return {p.text.split()[0] for p in wire.all() if p.protocol == "udp" and p.destination == ALLOWED}

        until(lambda: talked() >= set(names), "every pod talks to its peer", 120)
        # From the cluster's own pods; others may have that address in a namespace of theirs.
        wrong = [p for p in wire.all() if p.destination == FORBIDDEN and p.source.startswith("10.64.")]
        self.assertEqual(wrong, [])
        attached = sum(len(podfence.status(node)["attachments"]) for node in cluster.nodes)
        self.assertGreaterEqual(attached, count)
        print(f"  {count} pods, {kills} agents killed, one roll of the DaemonSet: 0 forbidden packets", flush=True)

    def kill_an_agent(self, dice):
        pids = self.pids()
        pod = dice.choice(list(podfence.pods().values()))
        for status in pod["status"].get("containerStatuses", []):
            pid = pids.get(status.get("containerID", "").removeprefix("containerd://"))
            if status["name"] == "agent" and pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    return 1
        return 0


if __name__ == "__main__":
    enter()
    parser = argparse.ArgumentParser()
    for option in ("--program", "--plugin", "--probe"):
        parser.add_argument(option, required=True, type=os.path.abspath)
    rest = parser.parse_known_args(namespace=OPTIONS)[1]
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2)
