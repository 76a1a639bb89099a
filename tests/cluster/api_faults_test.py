#!/usr/bin/env python3
"""Faults of the API server of a real cluster, and of what lies between it and an agent: what is enforced stays, byte for
byte, while they last, and what changes meanwhile is enforced when they end.
api_faults_test.py --program PODFENCE --plugin PODFENCE_CNI --probe PROBE

C2 C5 C6 C8 C10 C11 C12. C1 C3 C13 are in lifecycle_test.py, C4 in backup_test.py. C7 and C9 are in tests/e2e: this server
neither lies nor sends garbage."""
import contextlib
import json
import os
import re
import signal
import urllib.request

from api_server_case import ApiServerCase
from cluster_case import main
from control_plane import API_NAMES, Authority, until
from podfence import SYSTEM

WAY = "add table inet fault; add chain inet fault {0} {{ type filter hook {0} priority 0; }}; " \
      "add rule inet fault {0} ct original ip daddr 10.96.0.1 drop; "
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


class ApiFaults(ApiServerCase):
    world = {}  # the same pods for all: a namespace that ends would change rules while the next fault lasts

    def setUp(self):
        if not self.world:
            super().setUp()
            self.world.update({key: getattr(self, key) for key in ("space", "one", "address", "netns")})
        self.__dict__.update(self.world)
        self.admit("friend")
        self.until_only("friend")
        self.agent, self.before = self.agent_process(self.one), self.rules()

    def namespaces(self, *names):
        """As long as the cluster."""
        super().namespaces(*names)
        self._cleanups.clear()

    def rules(self):
        """But for who has been refused of late, which the kernel keeps and forgets by itself."""
        sets = re.split(r"(?m)^(?=\t\w)", super().rules())
        return "".join(re.sub(r"\n\t\telements = \{[^}]*\}", "", one) if re.search(r"flags .*dynamic", one) else one for one in sets)

    def told(self, field):
        return [t.get(field) for t in self.podfence.status(self.one)["kubernetes"]]

    def until_said(self, *words):
        """By the agent, of one of its sources."""
        def said():
            with contextlib.suppress(RuntimeError):  # by way of a kubelet that may just start
                self.errors = self.told("error")
            return any(error and word in error for error in self.errors for word in words)

        self.errors = []
        try:
            until(said, f"the agent says {' or '.join(words)}", 120)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.errors}") from error

    def assert_stays(self):
        self.assertEqual(self.rules(), self.before)
        self.assertTrue(self.only("friend"))

    def recovers(self):
        """By the same process."""
        self.admit("client")
        self.until_only("client")
        self.assertEqual(self.agent_process(self.one), self.agent, "no agent was restarted")

    def restarted(self, *options):
        self.cluster.plane.kill("kube-apiserver")
        self.cluster.plane.start_api_server(*options)
        self.cluster.plane.wait_ready()

    def test_it_stops_in_good_order(self):  # C2, W18
        plane = self.cluster.plane
        self.restarted("--shutdown-delay-duration=3s", "--shutdown-send-retry-after=true",
                       "--shutdown-watch-termination-grace-period=2s")
        self.until_only("friend")
        server = plane.processes["kube-apiserver"]
        server.send_signal(signal.SIGTERM)
        self.assert_stays()
        server.wait(120)
        self.assert_stays()
        self.restart_api_server()
        self.recovers()

    def test_it_has_forgotten_what_a_stopped_agent_did_not_read(self):  # C5 C8, W6 W11
        """Its database is compacted and its cache is a new one: it has no history for the agent's cursor."""
        api, space, expired = self.cluster.api(), self.space, sum(self.told("expired"))
        os.kill(self.agent, signal.SIGSTOP)
        try:
            for number in range(300):
                api.patch("pods", "server", {"metadata": {"labels": {"round": str(number)}}}, space)
            self.admit("client")
            revision = api.call("GET", "/api/v1/namespaces?limit=1")["metadata"]["resourceVersion"]
            body = json.dumps({"revision": revision, "physical": True}).encode()
            urllib.request.urlopen("http://127.0.0.1:2379/v3/kv/compaction", body, timeout=30).close()
            self.restarted()
            self.assert_stays()
        finally:
            os.kill(self.agent, signal.SIGCONT)
        self.recovers()
        self.assertGreater(sum(self.told("expired")), expired)

    def test_it_says_more_than_a_stopped_agent_reads(self):  # C8
        """Its cache has it all: the agent catches up by the watch that it had."""
        os.kill(self.agent, signal.SIGSTOP)
        try:
            for number in range(500):
                self.cluster.api().patch("pods", "friend", {"metadata": {"labels": {"round": str(number)}}}, self.space)
            self.admit("client")
            self.assert_stays()
        finally:
            os.kill(self.agent, signal.SIGCONT)
        self.recovers()

    def test_packets_between_them_are_lost(self):  # C6, T3
        """Neither end is told: only the agent's own limits say that its connections are dead."""
        self.one.run("nft", WAY.format("output") + WAY.format("input"))
        try:
            self.admit("client")
            self.until_said("timed out", "timeout", "no answer")
            self.assert_stays()
        finally:
            self.one.run("nft", "delete", "table", "inet", "fault")
        self.recovers()

    def test_its_token_is_revoked(self):  # C10, T7
        """By an account that is deleted and created again; new pods get a token of the new one."""
        kubectl = self.cluster.kubectl
        account = json.loads(kubectl("get", "serviceaccount", "podfence", "-n", SYSTEM, "-o", "json").stdout)
        account["metadata"] = {k: account["metadata"][k] for k in ("name", "namespace", "labels", "annotations") if k in account["metadata"]}
        kubectl("delete", "serviceaccount", "podfence", "-n", SYSTEM)
        kubectl("create", "-f", "-", input=json.dumps(account))
        self.restarted()
        self.until_said("401")
        self.admit("client")
        self.assert_stays()
        kubectl("delete", "pods", "-n", SYSTEM, "-l", "app.kubernetes.io/name=podfence")
        self.podfence.until_ready()
        self.until_only("client")

    def test_its_authority_is_replaced(self):  # C11, T9
        """The node's own programs trust both; agents hear of the new one when the controller publishes it."""
        plane = self.cluster.plane
        new = Authority(plane.file("pki-2"))
        with open(new.certificate, encoding="ascii") as file, open(plane.authority.certificate, "a", encoding="ascii") as both:
            both.write(file.read())
        plane.server = new.issue("apiserver", "/CN=kube-apiserver", plane.address, "127.0.0.1", "10.96.0.1", "fd00:96::1",
                                 "localhost", *API_NAMES)
        self.restarted()
        for node in self.cluster.nodes:
            for name, start in (("kubelet", node.start_kubelet), ("kube-proxy", node.start_kube_proxy)):
                node.kill(name)
                start()
        plane.kill("kube-scheduler")
        plane.start_scheduler()
        self.until_said("certificate")
        self.assert_stays()
        plane.kill("kube-controller-manager")
        plane.start_controllers()
        with open(plane.authority.certificate, encoding="ascii") as file:
            both = file.read()

        def known():
            with open(f"/proc/{self.agent}/root{ACCOUNT}/ca.crt", encoding="ascii") as file:
                return file.read() == both

        until(known, "the agent has the new authority's certificate", 240)
        self.recovers()

    def test_its_policies_are_withdrawn(self):  # C12, L11
        """No custom resource is watched; what a server can take away is a whole API."""
        self.restarted("--runtime-config=networking.k8s.io/v1/networkpolicies=false")
        self.until_said("404")
        self.assert_stays()
        self.restarted()
        self.recovers()


if __name__ == "__main__":
    main()
