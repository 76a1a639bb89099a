#!/usr/bin/env python3
"""Nodes of a real Kubernetes cluster that lose their runtime, their power, their API server and Podfence itself:
lifecycle_test.py --program PODFENCE --plugin PODFENCE_CNI --probe PROBE"""
import difflib
import json
import os
import random
import signal
import time

from api_server_case import ApiServerCase
from cluster_case import ALLOWED, NETWORKING, Case, Outside, bare_pod, connects, main, policy, prober
from control_plane import until


FILES = "/etc/cni /opt/cni /var/lib/podfence /var/log/podfence /run/podfence"
before = []  # of each node


def snapshot(node):
    """What Podfence might change: files with their sums, and tables but for kube-proxy's own."""
    found = node.run("sh", "-c", f"find {FILES} -type d -print -o -type f -exec sha256sum {{}} + | sort").stdout.splitlines()
    for table in sorted(node.run("nft", "list", "tables").stdout.splitlines()):
        if "kube-proxy" not in table:
            found += node.run("nft", "-s", "list", *table.split()).stdout.splitlines()
    return found


def clean(thing):
    """An object as it can be created again."""
    thing["metadata"] = {key: thing["metadata"][key] for key in ("name", "labels", "annotations") if key in thing["metadata"]}
    return thing


def remember():
    before.extend(map(snapshot, Case.cluster.nodes))


class ApiServer(ApiServerCase):
    """Faults of the API server and its database: what is enforced stays, and what changes afterwards is enforced again."""

    def test_it_is_killed_and_refuses(self):  # C1 C13, R-08
        """Meanwhile the agent is killed and its table deleted: the checkpoint is all that there is."""
        self.until_covered(self.one)
        plane, before = self.cluster.plane, self.rules()
        binding = self.cluster.kubectl("get", "clusterrolebinding", "podfence", "-o", "json").stdout
        self.cluster.kubectl("delete", "clusterrolebinding", "podfence")
        agent = self.agent_process(self.one)
        plane.kill("kube-apiserver")
        self.assertEqual(self.rules(), before)
        os.kill(agent, signal.SIGKILL)
        self.one.run("nft", "delete", "table", "inet", "podfence")
        until(lambda: "podfence" in self.one.run("nft", "list", "tables").stdout and self.only("friend"),
              "the checkpoint is enforced without an API server", 120)
        self.restart_api_server()
        until(lambda: any("403" in t.get("error", "") for t in self.podfence.status(self.one)["kubernetes"]), "it is refused", 120)
        self.assertTrue(self.only("friend"), "a refusal is no empty list")
        self.cluster.kubectl("create", "-f", "-", input=json.dumps(clean(json.loads(binding))))
        self.admit("client")
        self.until_only("client")

    def test_its_database_stalls(self):  # C3
        etcd, agent = self.cluster.plane.processes["etcd"], self.agent_process(self.one)
        before = self.rules()
        etcd.send_signal(signal.SIGSTOP)
        try:
            os.kill(agent, signal.SIGKILL)
            time.sleep(3)  # nothing to wait for: it is about what does not happen
            self.assertEqual(self.rules(), before)
            self.assertTrue(self.only("friend"))
        finally:
            etcd.send_signal(signal.SIGCONT)
        self.admit("client")
        self.until_only("client")


class Reboot(Case):
    """Faults of a node, with pods whose first act is to send to an address that is forbidden and to one that is not."""

    def setUp(self):
        self.dice = random.Random(seed := int(os.environ.get("PODFENCE_SEED", random.randrange(1 << 30))))
        self.count = int(os.environ.get("PODFENCE_CLUSTER_PODS", 120))
        print(f"  PODFENCE_SEED={seed} PODFENCE_CLUSTER_PODS={self.count}", flush=True)
        self.namespaces("burst")
        self.cluster.api().create("networkpolicies", policy("one-peer", {}, policyTypes=["Ingress", "Egress"], egress=[
            {"to": [{"ipBlock": {"cidr": f"{ALLOWED}/32"}}]}]), "burst", NETWORKING)  # fmt: skip
        until(lambda: all(self.podfence.status(n)["counts"]["policies"] for n in self.cluster.nodes), "the agents know of it")
        self.outside = Outside()
        self.addCleanup(self.outside.wire.close)

    def make(self, name, node):
        self.cluster.api().create("pods", prober(name, node, *Outside.targets), "burst")
        return name

    def until_talking(self, names, what):
        """And nothing that is forbidden has arrived."""
        self.outside.until_talking(names, what)
        self.assertEqual(self.outside.forbidden, [])

    def test_the_runtime_is_restarted_and_a_node_is_rebooted(self):
        names = [self.make(f"burst-{n}", self.dice.choice(self.cluster.nodes)) for n in range(self.count // 2)]
        for node in self.cluster.nodes:  # while they start
            node.kill("containerd")
            names += [self.make(f"late-{node.number}-{n}", node) for n in range(self.count // 4)]
            node.start_containerd()
        self.until_talking(names, "every pod talks to its peer while containerd is restarted")
        print(f"  {len(names)} pods, containerd killed on both nodes: 0 forbidden packets", flush=True)
        node = self.dice.choice(self.cluster.nodes)
        self.reboot(node)

    def reboot(self, node):
        """What enforces while the API server cannot be reached from the node is the checkpoint: without kube-proxy the
        kubelet reaches it, and pods with its Service's address do not."""
        self.until_covered(node)
        before = self.cluster.pods("burst")
        mine = [name for name, pod in before.items() if pod["spec"]["nodeName"] == node.name]
        node.reboot()
        self.outside.forget()
        self.assertNotIn("podfence", node.run("nft", "list", "tables").stdout)
        node.start_containerd()
        node.start_kubelet()
        self.until_talking(mine, "every pod of the node talks again, from the checkpoint")
        status = self.podfence.status(node)
        self.assertTrue(status["checkpoint"]["enforced"], status)
        self.assertEqual((status["state"], status["fail_static"]), ("degraded", True))
        node.start_kube_proxy()
        until(lambda: not self.podfence.status(node)["checkpoint"]["enforced"], "the API server has said everything", 120)
        self.make("last", node)
        self.outside.forget()
        self.until_talking([*mine, "last"], "pods of before and a new one talk")
        print(f"  {len(mine)} pods of {node.name} started again from the checkpoint after a reboot: 0 forbidden packets", flush=True)


class Uninstall(Case):
    def test_it_leaves_the_nodes_as_they_were(self):
        """Byte for byte, and no pod: what runs goes on, without rules."""
        self.namespaces("stays")
        api = self.cluster.api()
        one, two = self.cluster.nodes
        api.create("pods", bare_pod("server", one), "stays")
        api.create("pods", bare_pod("client", two), "stays")
        api.create("networkpolicies", policy("closed", {}, policyTypes=["Ingress"]), "stays", NETWORKING)
        pods = self.until_ready("stays", 2)
        (_, (address, *_)), (netns, _) = pods["stays", "server"], pods["stays", "client"]
        until(lambda: not connects(netns, address, 8080), "the server is closed", 60)
        refused = self.podfence.run(one, "uninstall", check=False)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("end it first", refused.stdout)
        self.podfence.uninstall()
        self.assertTrue(connects(netns, address, 8080, 10), "nothing is enforced")
        self.assertEqual(self.live_pods("stays"), pods, "and no pod was touched")
        api.create("pods", bare_pod("next", one), "stays")
        self.until_ready("stays", 3)
        for node, was in zip(self.cluster.nodes, before):
            now = snapshot(node)
            self.assertEqual(now, was, "\n".join(difflib.unified_diff(was, now, lineterm="")))


if __name__ == "__main__":
    main(remember)
