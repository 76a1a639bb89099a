#!/usr/bin/env python3
"""The agent with the Kubernetes API as its source: a real process, real nftables, real packets, and a scripted API server
in the node's network namespace. Usage: kube_test.py PODFENCE [-v]

List/watch rows: L7 L11 L12 W6 W9 W10 W17 S1 S2 A1 T6 T7 T11 T14; conformance D-01 D-02 D-05 D-20 D-24 R-08 V-11.
"""
import os
import signal
import socket
import sys
import unittest

from api_server import Answer, ApiServer, status
from node import Node, namespace, node_object, policy

PODFENCE = None
POLICIES = "/apis/networking.k8s.io/v1/networkpolicies"


class KubeTest(unittest.TestCase):
    def setUp(self):
        self.node = Node(PODFENCE)
        self.addCleanup(self.node.close)
        self.web = self.node.add_pod("web", "shop", app="web")
        self.db = self.node.add_pod("db", "shop", app="db")
        self.client = self.node.add_pod("client", "people", app="client")
        self.servers = [self.node.listen(pod, 8080) for pod in (self.web, self.db)]
        self.api = ApiServer(self.node.netns, self.node.directory)
        self.api.put(*self.world())
        self.api.start()
        self.addCleanup(lambda: self.api.server and self.api.kill())

    def tearDown(self):
        for server in self.servers:
            server.close()

    def world(self):
        return [node_object(), *[namespace(n, team=n) for n in ("shop", "people")],
                *[pod.manifest() for pod in (self.web, self.db, self.client)]]

    def start_agent(self, *more, enforces=True, **user):
        self.node.start_agent("--kubeconfig", self.api.kubeconfig(**user), *more, source="kubernetes", enforces=enforces)

    def deny_all(self):
        return policy("deny-all", "shop", policyTypes=["Ingress"])

    def allow_web(self):
        peer = {"namespaceSelector": {"matchLabels": {"team": "people"}}}
        return policy("allow-web", "shop", {"app": "web"}, ingress=[{"from": [peer], "ports": [{"port": "http"}]}])

    def reach(self, pod, other, timeout=0.4):
        return self.node.reaches(pod.netns, other.v4, 8080, timeout)

    def wait_for(self, pod, other, allowed):
        self.node.until(lambda: self.reach(pod, other, 0.2) == allowed,
                        f"{pod.name} -> {other.name} {'allowed' if allowed else 'denied'}", 60)

    def type(self, name):
        return next((t for t in self.node.status().get("kubernetes", []) if t["type"] == name), {})

    def rules(self):
        return self.node.exec("nft", "-s", "list", "table", "inet", "podfence", check=False).stdout

    def test_policies_come_change_and_go(self):  # D-01, D-02, D-05
        self.start_agent()
        self.assertTrue(self.reach(self.client, self.web))
        self.api.put(self.deny_all())
        self.wait_for(self.client, self.web, False)
        self.api.put(self.allow_web())
        self.wait_for(self.client, self.web, True)
        self.assertFalse(self.reach(self.client, self.db))
        self.api.put(namespace("people", team="others"))
        self.wait_for(self.client, self.web, False)
        self.api.delete(self.deny_all())
        self.wait_for(self.client, self.db, True)
        for name, count in (("namespaces", 2), ("nodes", 1), ("pods", 3), ("networkpolicies", 1)):
            shown = self.type(name)
            self.assertEqual((shown["state"], shown["objects"], shown["relists"]), ("watching", count, 0), shown)
        self.assertIn("networkpolicies", self.node.podfence("status", "--socket", self.node.socket).stdout)
        for _, query, headers in self.api.requests:  # L12, W17
            self.assertRegex(headers["User-Agent"], r"^podfence/\d")
            self.assertNotIn("Accept-Encoding", headers)
            self.assertFalse("limit" in query and query.get("resourceVersion", "0") != "0", query)

    def test_rules_stay_while_the_server_is_away(self):  # W9, W6, S1, D-24
        self.api.put(self.deny_all(), self.allow_web())
        self.start_agent()
        before = self.rules()
        self.assertIn("table inet podfence", before)
        self.api.kill()
        self.node.until(lambda: self.type("networkpolicies").get("state") == "waiting", "the agent notices", 60)
        self.assertEqual(self.rules(), before)
        self.assertEqual(self.node.status()["state"], "degraded")
        self.assertTrue(self.reach(self.client, self.web))
        self.assertFalse(self.reach(self.client, self.db))
        self.api.delete(self.allow_web())
        self.api.put(namespace("late"))
        self.api.compact()
        self.api.start()
        self.wait_for(self.client, self.web, False)
        self.node.until(lambda: self.type("namespaces").get("objects") == 3, "what came meanwhile is known", 60)
        shown = self.type("networkpolicies")
        self.assertGreaterEqual(shown["relists"], 1)
        self.assertGreaterEqual(shown["expired"], 1)
        self.node.until(lambda: self.node.status()["state"] == "enforcing", "all is well again", 60)

    def test_nothing_is_written_before_all_types_are_known(self):  # L11, R-08
        self.api.put(self.deny_all())
        refused = Answer(403, status(403, "Forbidden", "networkpolicies is forbidden"))
        self.api.fault = lambda path, query: refused if path == POLICIES else None
        self.start_agent(enforces=False)
        self.node.until(lambda: "403" in self.type("networkpolicies").get("error", ""), "the refusal is shown", 60)
        self.node.until(lambda: self.type("pods").get("synced"), "the others are known", 60)
        self.assertNotIn("chain", self.rules())
        self.assertEqual(self.node.status()["state"], "starting")
        self.api.fault = lambda path, query: None
        self.wait_for(self.client, self.web, False)

    def test_a_refusal_is_no_empty_list(self):  # L11
        self.api.put(self.deny_all())
        self.start_agent()
        before = self.rules()
        answers = [Answer(403, status(403, "Forbidden", "forbidden")),
                   Answer(200, {"kind": "Status", "apiVersion": "v1", "metadata": {"resourceVersion": "999"}}),
                   Answer(404, "404 page not found")]
        given = []

        def fault(path, query):
            if path != POLICIES or "limit" in query:
                return None
            given.append(answers[min(len(given), len(answers) - 1)])
            return given[-1]
        self.api.kill()
        self.api.compact()
        self.api.fault = fault
        self.api.start()
        self.node.until(lambda: self.type("networkpolicies").get("state") == "absent", "all answers were given", 120)
        self.assertEqual(self.rules(), before)
        self.assertFalse(self.reach(self.client, self.web))

    def test_a_history_that_went_back_is_noticed(self):  # W10, A1
        self.api.revision = 5000
        self.api.put(self.deny_all())
        self.start_agent("--audit-seconds", "1")
        self.assertFalse(self.reach(self.client, self.web))
        self.api.kill()
        self.api.restore([*self.world(), self.deny_all(), self.allow_web()], 200)
        self.api.start()
        self.wait_for(self.client, self.web, True)
        self.node.until(lambda: self.type("networkpolicies").get("rollbacks") == 1, "the rollback is counted", 60)
        self.assertFalse(self.reach(self.client, self.db))

    def test_an_old_server_and_a_new_token(self):  # S2, T7, L7
        refused = Answer(422, status(422, "Invalid", "resourceVersionMatch is forbidden for watch"))
        self.api.fault = lambda path, query: refused if "sendInitialEvents" in query else None
        self.api.put(self.deny_all())
        token = os.path.join(self.node.directory, "token")
        with open(token, "w", encoding="ascii") as out:
            out.write(self.api.token + "\n")
        self.start_agent(tokenFile="token")
        self.assertFalse(self.reach(self.client, self.web))
        self.api.kill()
        self.api.token = "another"
        with open(token + ".new", "w", encoding="ascii") as out:
            out.write("another\n")
        os.rename(token + ".new", token)
        self.api.put(self.allow_web())
        self.api.start()
        self.wait_for(self.client, self.web, True)
        self.assertEqual(self.type("networkpolicies")["relists"], 0, "the history was there")

    def test_an_invalid_object_keeps_its_last_good_content(self):  # V-11, D-20
        self.api.put(self.deny_all(), self.allow_web())
        self.start_agent()
        self.assertTrue(self.reach(self.client, self.web))
        broken = self.allow_web()
        broken["spec"]["ingress"][0]["ports"] = [{"port": 99999}]
        self.api.put(broken)
        self.node.until(lambda: self.node.status().get("files"), "the object is reported", 60)
        problem = self.node.status()["files"][0]
        self.assertEqual((problem["file"], problem["last_good_content"]), ("NetworkPolicy shop/allow-web", True))
        self.assertTrue(self.reach(self.client, self.web))
        self.api.put(self.allow_web())
        self.node.until(lambda: self.node.status().get("state") == "enforcing", "the mended object is taken", 60)

    def test_a_restart_writes_nothing_new(self):
        self.api.put(self.deny_all(), self.allow_web())
        self.start_agent()
        before = self.rules()
        self.node.end_agent(signal.SIGTERM)
        self.assertEqual(self.rules(), before)
        self.start_agent()
        self.assertEqual(self.node.status()["commits"]["last_operations"], 0)

    def test_what_cannot_work_is_said_at_once(self):  # T6, T11, T12, T14
        for user, words in (({"exec": {"command": "x"}}, "exec"), ({"tokenFile": "nowhere"}, "nowhere")):
            answer = self.node.podfence("agent", "--source", "kubernetes", "--node", "node-a", "--kubeconfig",
                                        self.api.kubeconfig(**user), "--socket", self.node.socket, "--state-dir",
                                        self.node.state, "--flow-log", "")
            self.assertEqual(answer.returncode, 1, answer.stdout)
            self.assertIn(words, answer.stdout)
        moved = Answer(302, "elsewhere", {"Location": f"https://127.0.0.1:{self.api.port}/api/v1/pods"})
        self.api.fault = lambda path, query: moved if path == "/api/v1/nodes" else None
        self.start_agent(enforces=False)
        self.node.until(lambda: "302" in self.type("nodes").get("error", ""), "a redirect is refused", 60)
        self.assertFalse(self.type("nodes")["synced"])


if __name__ == "__main__":
    PODFENCE = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
