#!/usr/bin/env python3
"""The agent watches the pods that it has to know, and no others: a real process, real nftables, real packets, a scripted
API server. Usage: kube_scope_test.py PODFENCE [-v]

kube.md 2.4 (scoped watches, promotion, order) and W14; conformance D-01 D-05 D-20.
"""
import os
import sys
import threading
import unittest

import kube_test
from api_server import Answer, status
from node import namespace, node_object, policy

NAMESPACED = "/api/v1/namespaces/{}/pods"


def elsewhere(name, namespace_name, address, **labels):
    """A pod of another node."""
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace_name, "labels": labels},
            "spec": {"nodeName": "node-b", "containers": [{"name": "main", "image": "none"}]},
            "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}}


class Scope(kube_test.KubeTest):
    """The pods of the node are web and db in shop, client in people. The client is another node's pod in most of them."""

    def world(self):
        """Without ranges of the node, in which a stranger would be closed."""
        return [node_object(pod_cidrs=()), *super().world()[1:]]

    def start(self, *more, watch="needed", linger=600):
        self.start_agent("--watch", watch, "--watch-linger-seconds", str(linger), *more)

    def watched(self):
        return {t["type"] for t in self.node.status()["kubernetes"]} - {"namespaces", "nodes", "networkpolicies"}

    def wait_watched(self, *names):
        self.node.until(lambda: self.watched() == set(names), f"{names} are watched", 60)

    def from_team(self, team, name="from-team"):
        peers = [{"namespaceSelector": {"matchLabels": {"team": team}}}]
        return policy(name, "shop", {"app": "web"}, ingress=[{"from": peers}])

    def as_if_elsewhere(self):
        """Packets of client are those of a pod that this node knows as another node's only."""
        self.api.delete(self.client.manifest())
        moved = self.client.manifest()
        moved["spec"]["nodeName"] = "node-b"
        moved["metadata"]["uid"] = "moved"
        self.api.put(moved)

    def test_only_what_policies_name_is_watched(self):
        self.as_if_elsewhere()
        self.start()
        self.assertEqual(self.watched(), {"local-pods"})
        self.api.put(self.from_team("people"))
        self.wait_watched("local-pods", "pods/people")
        self.wait_for(self.client, self.web, True)
        self.node.until(lambda: self.type("pods/people")["objects"] == 1, "its pods are known", 60)
        self.assertEqual(self.type("local-pods")["objects"], 2)
        self.api.put(self.from_team("others"))
        self.wait_for(self.client, self.web, False)
        self.assertEqual(self.watched(), {"local-pods", "pods/people"}, "it stays for a while")
        self.api.put(namespace("people", team="others"))
        self.wait_for(self.client, self.web, True)
        paths = [(path, query.get("fieldSelector")) for path, query, _ in self.api.requests if path.endswith("/pods")]
        self.assertEqual({("/api/v1/pods", "spec.nodeName=node-a"), (NAMESPACED.format("people"), None)}, set(paths))

    def test_a_selector_for_all_is_the_whole_cluster_and_back(self):  # promotion and hysteresis
        self.as_if_elsewhere()
        self.api.put(self.from_team("people"))
        self.start(linger=3)
        self.wait_watched("local-pods", "pods/people")
        everyone = policy("everyone", "shop", {"app": "db"}, ingress=[{"from": [{"namespaceSelector": {}}]}])
        self.api.put(everyone)
        self.wait_watched("pods")
        self.wait_for(self.client, self.db, True)
        self.assertTrue(self.reach(self.client, self.web))
        self.api.delete(everyone)
        self.wait_watched("local-pods", "pods/people")
        self.assertTrue(self.reach(self.client, self.web))
        self.assertTrue(self.reach(self.client, self.db), "no policy selects it any more")

    def test_no_packet_is_lost_while_a_new_namespace_is_listed(self):  # order: pods before the rule that names them
        self.as_if_elsewhere()
        self.api.put(policy("open", "shop", {"app": "web"}, ingress=[{}]))
        self.start()
        self.assertEqual(self.watched(), {"local-pods"})
        refused = Answer(429, status(429, "TooManyRequests", "later"), {"Retry-After": "1"})
        path_of_people = NAMESPACED.format("people")
        asked = threading.Event()

        def fault(path, query):
            if path != path_of_people:
                return None
            asked.set()
            return refused
        self.api.fault = fault
        narrowed = self.from_team("people", "open")
        self.api.put(narrowed)
        self.assertTrue(asked.wait(60), "the namespace is listed")
        for _ in range(5):
            self.assertTrue(self.reach(self.client, self.web), "what was allowed stays allowed until its peers are known")
        self.api.fault = lambda path, query: None
        self.wait_watched("local-pods", "pods/people")
        self.node.until(lambda: self.type("pods/people").get("synced"), "the pods are known", 60)
        self.node.until(lambda: not self.reach(self.db, self.web, 0.2), "the narrower policy is in force", 60)
        self.assertTrue(self.reach(self.client, self.web))

    def test_a_namespace_that_cannot_be_listed_stops_nothing_for_ever(self):
        self.as_if_elsewhere()
        self.start()
        forbidden = Answer(403, status(403, "Forbidden", "pods is forbidden"))
        self.api.fault = lambda path, query: forbidden if path == NAMESPACED.format("people") else None
        self.api.put(self.from_team("people"))
        self.wait_for(self.db, self.web, False)
        self.assertFalse(self.reach(self.client, self.web), "closed: its pods are not known")
        self.assertEqual(self.node.status()["state"], "degraded")
        self.assertIn("403", self.type("pods/people")["error"])
        self.api.fault = lambda path, query: None
        self.wait_for(self.client, self.web, True)

    def test_pods_of_this_node_come_and_go(self):  # W14
        self.api.put(self.from_team("people"))
        self.start()
        self.wait_watched("local-pods", "pods/people")
        self.assertTrue(self.reach(self.client, self.web))
        self.as_if_elsewhere()
        self.node.until(lambda: self.type("local-pods")["objects"] == 2, "it left the node", 60)
        self.wait_for(self.client, self.web, True)
        gone = self.client.manifest()
        self.api.delete(gone)
        self.wait_for(self.client, self.web, False)

    def test_small_clusters_are_watched_whole(self):
        self.start(watch="auto", linger=2)
        self.assertEqual(self.watched(), {"pods"})
        nodes = [node_object(f"node-{i}", (f"10.9.{i}.0/24",)) for i in range(101)]
        self.api.put(*nodes)
        self.wait_watched("local-pods")
        for node in nodes:
            self.api.delete(node)
        self.wait_watched("pods")

    def test_what_it_saves(self):
        """Bytes and events of the same world and the same changes, watched whole and as needed."""
        names = [f"team-{i}" for i in range(40)]
        pods = [elsewhere(f"pod-{i}", name, f"10.20.{n}.{i + 1}", round="0") for n, name in enumerate(names) for i in range(20)]
        self.api.put(*[namespace(name, team=name) for name in names], *pods, self.from_team("team-7"))
        received = {}
        for watch in ("cluster", "needed"):
            self.start(watch=watch)
            before = self.pods_received()
            for pod in pods[::4]:
                pod["metadata"]["labels"]["round"] = watch
                self.api.put(pod)
            last = pods[7 * 20]  # of the namespace that both watch
            last["metadata"]["labels"]["round"] = watch + "-last"
            self.api.put(last)
            most = 201 if watch == "cluster" else 6
            self.node.until(lambda: self.pods_received()[1] - before[1] >= most, "the last event has come", 60)
            after = self.pods_received()
            received[watch] = (before[0], after[0] - before[0], after[1] - before[1])
            self.node.end_agent()
        for watch, (listed, watched, events) in received.items():
            print(f"\n  {watch:8} {listed:8} bytes of lists, {watched:8} bytes and {events} events of 201 changes", end="")
        print(flush=True)
        self.assertEqual((received["cluster"][2], received["needed"][2]), (201, 6))
        self.assertLess(received["needed"][0] * 4, received["cluster"][0])
        self.assertLess(received["needed"][1] * 4, received["cluster"][1])

    def pods_received(self):
        types = [t for t in self.node.status()["kubernetes"] if "pods" in t["type"]]
        return sum(t["bytes"] for t in types), sum(t["events"] for t in types)


def load_tests(loader, _tests, _pattern):
    """Its own tests, not those of the class that it extends."""
    inherited = set(dir(kube_test.KubeTest))
    own = [name for name in loader.getTestCaseNames(Scope) if name not in inherited]
    return unittest.TestSuite(map(Scope, own))


if __name__ == "__main__":
    kube_test.PODFENCE = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
