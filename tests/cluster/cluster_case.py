"""What the tests of the real cluster share: a cluster with Podfence on it, workloads, and who reaches whom."""
import argparse
import concurrent.futures
import contextlib
import json
import os
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
PORT = 8080


def netexec(**more):
    return {"name": "main", "image": IMAGE, "imagePullPolicy": "Never",
            "command": ["/agnhost", "netexec", f"--http-port={PORT}", "--udp-port=8081"], **more}


def pod_spec(node, **more):
    """A server that is ready when it answers."""
    return {"terminationGracePeriodSeconds": 0, "nodeSelector": {"kubernetes.io/hostname": node.name}, "containers": [netexec(
        readinessProbe={"httpGet": {"path": "/healthz", "port": PORT}, "periodSeconds": 1})], **more}  # fmt: skip


def workload(name, node, labels, **more):
    """The fields that Deployments and StatefulSets share."""
    labels = {"app": name, **labels}
    return {"metadata": {"name": name}, "spec": {"selector": {"matchLabels": {"app": name}}, "template": {
        "metadata": {"labels": labels}, "spec": pod_spec(node)}, **more}}  # fmt: skip


def deployment(name, node, replicas=1, **labels):
    return workload(name, node, labels, replicas=replicas)


def bare_pod(name, node, labels=None, **more):
    return {"metadata": {"name": name, "labels": {"app": name, **(labels or {})}}, "spec": pod_spec(node, **more)}


def prober(name, node, *targets, **labels):
    """A pod whose first act is to send to each, and which does so again twice a second."""
    words = [f"{address},{port},{protocol}" for address, port in targets for protocol in ("udp", "tcp")]
    return {"metadata": {"name": name, "labels": labels}, "spec": {
        "nodeName": node.name, "terminationGracePeriodSeconds": 0, "containers": [
            {"name": "main", "image": PROBE, "imagePullPolicy": "Never", "args": ["-", "500", *words]}]}}  # fmt: skip


def policy(name, selector, **spec):
    return {"apiVersion": NETWORKING, "kind": "NetworkPolicy", "metadata": {"name": name},
            "spec": {"podSelector": {"matchLabels": selector}, **spec}}


def ready(pod):
    statuses = pod["status"].get("containerStatuses", [])
    return "deletionTimestamp" not in pod["metadata"] and bool(statuses) and all(s["ready"] for s in statuses)


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


class Outside:
    """What of the cluster's pods arrives outside of it: at the address that all may reach, and at the one that none may."""

    targets = [(address, 9000) for address in (FORBIDDEN, ALLOWED)]

    def __init__(self):
        self.wire, self.next, self.forbidden, self.talked = Wire(f"/proc/{os.getpid()}/ns/net"), 0, [], set()

    def look(self):
        new = self.wire.all(self.next)
        self.next += len(new)
        for packet in new:
            if packet.destination == ALLOWED and packet.protocol == "udp":
                self.talked.add(packet.text.split()[0])
            # From the cluster's own pods; others may have that address in a namespace of theirs.
            if packet.destination == FORBIDDEN and packet.source.startswith("10.64."):
                self.forbidden.append(packet)

    def forget(self):
        """Who has talked so far."""
        self.look()
        self.talked.clear()

    def until_talking(self, names, what, seconds=240):
        def all_do():
            self.look()
            return self.talked >= set(names)

        try:
            until(all_do, what, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}: {set(names) - self.talked}\n{Case.podfence.words()}") from error


class Case(unittest.TestCase):
    cluster = podfence = None  # of all tests of a run

    @staticmethod
    def set_up_cluster(*controllers):
        cluster = Case.cluster = Cluster(programs("kubernetes"), programs("containerd"))
        for address in (FORBIDDEN, ALLOWED):
            run("ip", "addr", "add", f"{address}/24", "dev", BRIDGE)
        cluster.start(*controllers)
        for node in cluster.nodes:
            node.add_image(PROBE, OPTIONS.probe, [])
        Case.podfence = Podfence(cluster, OPTIONS.program, OPTIONS.plugin, os.path.join(programs("helm"), "helm"))

    @staticmethod
    def install():
        begin = time.monotonic()
        Case.podfence.install()
        print(f"  podfence ready on both nodes after {time.monotonic() - begin:.1f} s", flush=True)

    # Workloads ---------------------------------------------------------------------------------------------------

    def namespaces(self, *names):
        for name in names:
            self.addCleanup(self.cluster.api().delete, "namespaces", name)
            self.cluster.api().create("namespaces", {"metadata": {"name": name, "labels": {"team": name}}})
        for name in names:
            until(lambda name=name: [a for a in self.cluster.api().list("serviceaccounts", name)
                                     if a["metadata"]["name"] == "default"], f"{name} has an account")  # fmt: skip

    def pids(self):
        """Of every container: its first process."""
        return {container: pid for node in self.cluster.nodes for container, pid in node.tasks().items()}

    def live_pods(self, *namespaces):
        """Ready pods that are not about to end: (namespace, name) to (netns, addresses)."""
        pids, found = self.pids(), {}
        for namespace in namespaces:
            for name, pod in self.cluster.pods(namespace).items():
                container = pod["status"].get("containerStatuses", [{}])[0].get("containerID", "")
                pid = pids.get(container.removeprefix("containerd://"))
                if ready(pod) and pid:
                    found[namespace, name] = (f"/proc/{pid}/ns/net", [a["ip"] for a in pod["status"]["podIPs"]])
        return found

    def until_ready(self, namespace, count):
        return until(lambda: len(pods := self.live_pods(namespace)) == count and pods, f"{count} pods of {namespace} are ready",
                     240)

    # Agents ------------------------------------------------------------------------------------------------------

    @staticmethod
    def until_covered(node):
        until(lambda: node.run("test", "-e", "/run/podfence/checkpoint-covers", check=False).returncode == 0,
              f"{node.name}: the checkpoint holds everything", 120)

    def agent_process(self, node):
        """The agent's, or nothing between two of them."""
        statuses = self.podfence.pods()[node.name]["status"].get("containerStatuses", [])
        containers = [s.get("containerID", "").removeprefix("containerd://") for s in statuses if s["name"] == "agent"]
        return node.tasks().get(containers[0]) if containers else None

    # Who reaches whom --------------------------------------------------------------------------------------------

    @staticmethod
    def flows(pods):
        return [(netns, own, target) for source, (netns, addresses) in pods.items()
                for destination, (_, targets) in pods.items() if source != destination
                for own, target in zip(addresses, targets)]  # fmt: skip

    def expected(self, flows):
        """By the evaluator, of the API server's own objects."""
        folder = os.path.join(self.cluster.root, "objects")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "all.json"), "w", encoding="utf-8") as file:
            file.write(self.cluster.kubectl("get", "ns,nodes,pods,netpol", "-A", "-o", "json").stdout)
        path = os.path.join(self.cluster.root, "flows.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump([{"from": own, "to": target, "port": PORT, "protocol": "TCP"} for _, own, target in flows], file)
        done = subprocess.run([OPTIONS.program, "simulate", "--objects", folder, "--flows", path, "-o", "json"], text=True,
                              capture_output=True)
        if done.returncode != 0:
            raise AssertionError(f"simulate: {done.stdout[-2000:]}{done.stderr}")
        return [flow["verdict"] == "allow" for flow in json.loads(done.stdout)]

    @staticmethod
    def seen(flows):
        with concurrent.futures.ThreadPoolExecutor(32) as pool:
            return list(pool.map(lambda flow: connects(flow[0], flow[2], PORT), flows))

    def assert_equal_soon(self, what, *namespaces):
        """What connects is what the evaluator says. Waits generously, and says how long it took."""
        begin = time.monotonic()

        def equal():
            flows = self.flows(self.live_pods(*namespaces))
            wanted, seen = self.expected(flows), self.seen(flows)
            self.differing = [(own, target, want) for (_, own, target), want, saw in zip(flows, wanted, seen) if want != saw]
            self.counts = (len(flows), sum(wanted))
            return not self.differing

        try:
            until(equal, f"{what}: what connects is what the evaluator says", 60)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.differing}\n{self.podfence.words()}") from error
        print(f"  {what}: {self.counts[0]} flows, {self.counts[1]} allowed, equal within {time.monotonic() - begin:.1f} s", flush=True)
        return self.counts


def main_options(**numbers):
    """Into OPTIONS; what is left is for unittest."""
    parser = argparse.ArgumentParser()
    for option in ("--program", "--plugin", "--probe"):
        parser.add_argument(option, required=True, type=os.path.abspath)
    for name, value in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    return parser.parse_known_args(namespace=OPTIONS)[1]


def main(before=lambda: None):
    """One cluster for all tests of the script, and of the modules whose cases it has imported. `before`: Podfence is on it."""
    enter()
    rest = main_options()
    Case.set_up_cluster()
    try:
        before()
        Case.install()
        done = unittest.main(module="__main__", argv=[sys.argv[0], *rest], verbosity=2, exit=False)
    finally:
        Case.cluster.close()
    sys.exit(not done.result.wasSuccessful())
