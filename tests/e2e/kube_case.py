"""A node with a web server that people may reach and a database that they may not, by what an API server says."""
import os
import re
import signal
import unittest

from api_server import ApiServer
from cni_node import CniNode
from metrics_test import AGENT, get
from node import namespace, node_object, policy

POLICIES = "/apis/networking.k8s.io/v1/networkpolicies"


class KubeCase(unittest.TestCase):
    PODFENCE = None
    ADDRESS = "127.0.0.1"  # of the API server

    def setUp(self):
        self.node = CniNode(self.PODFENCE)
        self.addCleanup(self.node.close)
        self.web = self.node.add_pod("web", "shop", app="web")
        self.db = self.node.add_pod("db", "shop", app="db")
        self.client = self.node.add_pod("client", "people", app="client")
        for pod in (self.web, self.db):
            self.addCleanup(self.node.listen(pod, 8080).close)
        if self.ADDRESS != "127.0.0.1":
            self.node.exec("ip", "address", "add", f"{self.ADDRESS}/32", "dev", "lo")
        self.api = ApiServer(self.node.netns, self.node.directory, self.ADDRESS)
        self.api.put(node_object(), namespace("kube-system"), *[namespace(n, team=n) for n in ("shop", "people")],
                     *[pod.manifest() for pod in (self.web, self.db, self.client)], self.deny_all(), self.allow_web())
        self.api.start()
        self.addCleanup(lambda: self.api.server and self.api.kill())
        self.file = os.path.join(self.node.state, "checkpoint")

    @staticmethod
    def deny_all():
        return policy("deny-all", "shop", policyTypes=["Ingress"])

    @staticmethod
    def allow_web(port="http"):
        peer = {"namespaceSelector": {"matchLabels": {"team": "people"}}}
        return policy("allow-web", "shop", {"app": "web"}, ingress=[{"from": [peer], "ports": [{"port": port}]}])

    def start_agent(self, *more, enforces=True, **user):
        self.node.start_agent("--kubeconfig", self.api.kubeconfig(**user), *more, source="kubernetes", enforces=enforces)

    def wrap(self, preparation):
        """The next agent does this first, in a mount namespace of its own."""
        script = os.path.join(self.node.directory, "podfence")
        with open(script, "w", encoding="utf-8") as out:
            out.write(f"#!/bin/sh\nif [ \"$1\" = agent ]; then\n{preparation}\nfi\nexec {self.PODFENCE} \"$@\"\n")
        os.chmod(script, 0o755)
        self.node.binary = script

    def checkpoint(self):
        return self.node.status().get("checkpoint", {})

    def marked(self):
        """The kernel holds nothing that the file does not."""
        return os.path.exists(os.path.join(os.path.dirname(self.node.socket), "checkpoint-covers"))

    def until_written(self, writes=1):
        self.node.until(lambda: self.checkpoint()["writes"] >= writes and self.marked(), "a checkpoint is written", 60)

    def learn(self):
        self.start_agent()
        self.until_written()

    def reboot(self):
        """Of the agent nothing is left, of its table nothing, and the API server is away."""
        self.node.end_agent(signal.SIGKILL)
        self.api.kill()
        self.node.exec("nft", "flush", "ruleset")
        self.node.exec("rm", "-f", self.node.socket, os.path.join(os.path.dirname(self.node.socket), "checkpoint-covers"))

    def rules(self):
        return self.node.exec("nft", "-s", "list", "table", "inet", "podfence", check=False).stdout

    def reach(self, pod, other, timeout=0.4):
        return self.node.reaches(pod.netns, other.v4, 8080, timeout)

    def wait_for(self, pod, other, allowed):
        self.node.until(lambda: self.reach(pod, other, 0.2) == allowed, f"{pod.name} -> {other.name}: {allowed}", 60)

    def metric(self, name):
        return float(re.search(rf"(?m)^{name} (\S+)$", get(self.node, AGENT, "/metrics")[2]).group(1))

    def assert_judged(self):
        self.assertTrue(self.reach(self.client, self.web))
        self.assertFalse(self.reach(self.client, self.db))
