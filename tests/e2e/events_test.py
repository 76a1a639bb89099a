#!/usr/bin/env python3
"""Kubernetes Events about denied flows: a real agent, real packets that the kernel drops, and a scripted API server that
refuses what the real one would. Usage: events_test.py PODFENCE [-v]
"""
import os
import signal
import socket
import sys
import threading
import unittest

from api_server import EVENTS, Answer, ApiServer, status
from node import Node, inside, namespace, node_object, policy

PODFENCE = None


def send_datagrams(sender, address, port, times=1):
    with inside(sender.netns):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for _ in range(times):
        s.sendto(b"?", (address, port))
    s.close()


class EventsTest(unittest.TestCase):
    def setUp(self):
        self.node = Node(PODFENCE)
        self.addCleanup(self.node.close)
        self.web = self.node.add_pod("web", "shop", app="web")
        self.db = self.node.add_pod("db", "data", app="db")
        self.client = self.node.add_pod("client", "people", app="client")
        self.api = ApiServer(self.node.netns, self.node.directory)
        self.api.put(node_object(), *[namespace(n) for n in ("shop", "data", "people")],
                     *[pod.manifest() for pod in (self.web, self.db, self.client)],
                     policy("deny-all", "shop", policyTypes=["Ingress"]), policy("closed", "data", policyTypes=["Ingress"]))
        self.api.start()
        self.addCleanup(lambda: self.api.server and self.api.kill())

    def start_agent(self, *more):
        self.node.start_agent("--kubeconfig", self.api.kubeconfig(), "--flow-events", *more, source="kubernetes")

    def send(self, pod, port, times=1):
        send_datagrams(self.client, pod.v4, port, times)

    def sink(self):
        return self.node.status()["sinks"][0]

    def events(self, space="shop"):
        return [event for (where, _), event in sorted(self.api.events.items()) if where == space]

    def accounted(self):
        """Whether every record of the flow log is sent, dropped or suppressed."""
        sink = self.sink()
        with open(self.node.flow_log, encoding="utf-8") as log:
            return sink["sent"] + sink["dropped"] + sink["suppressed"] == sum(1 for _ in log)

    def only_events(self, answer):
        return lambda path, query: answer if EVENTS.match(path) else None

    def test_the_denied_pod_hears_of_it_and_a_scan_is_bounded(self):
        self.start_agent()
        self.send(self.db, 6000, times=3)
        for port in range(5000, 5025):
            self.send(self.web, port)
        self.node.until(lambda: self.events("data"), "an Event", 60)
        event = self.events("data")[0]
        self.assertEqual(event["regarding"], {"apiVersion": "v1", "kind": "Pod", "namespace": "data", "name": "db",
                                              "uid": "uid-data-db"})
        self.assertEqual(event["related"]["uid"], "uid-people-client")
        self.assertEqual((event["type"], event["reason"], event["action"]), ("Warning", "FlowDenied", "Drop"))
        self.assertEqual(event["series"]["count"], 3)
        self.assertEqual(event["note"], f"Packets from people/client ({self.client.v4}) to data/db ({self.db.v4}), UDP port "
                                        "6000, dropped on ingress; denied by NetworkPolicy data/closed")
        self.assertTrue(self.sink()["last_success"])
        self.node.until(lambda: len(self.node.records()) >= 26 and self.accounted(), "all is accounted for", 60)
        sink = self.sink()
        self.assertEqual(sink["dropped"], 0, sink)
        self.assertEqual(len(self.events()) + sink["suppressed"], 25, sink)
        self.assertLessEqual(len(self.events()), 12)
        page = self.node.exec("curl", "-s", "http://127.0.0.1:19436/metrics").stdout
        self.assertIn(f'podfence_sink_records_total{{sink="events",result="suppressed"}} {sink["suppressed"]}', page)

    def test_an_api_that_asks_to_wait_or_is_away_loses_nothing(self):
        self.api.fault = self.only_events(Answer(429, status(429, "TooManyRequests", "wait"), {"Retry-After": "1"}))
        self.start_agent()
        self.send(self.web, 5000)
        self.node.until(lambda: self.sink()["retries"] > 0, "the agent is asked to wait", 60)
        self.assertIn("429", self.sink()["error"])
        self.api.kill()
        self.send(self.db, 6000)
        self.node.until(lambda: len(self.node.records()) == 2, "records are written meanwhile", 60)
        self.assertFalse(self.node.reaches(self.client.netns, self.web.v4, 5001, 0.2))
        self.node.end_agent(signal.SIGKILL)
        self.api.fault = lambda path, query: None
        self.api.start()
        self.start_agent()
        self.node.until(lambda: self.events() and self.events("data"), "both are told after all", 120)
        self.assertEqual(self.sink()["dropped"], 0)

    def test_a_slow_api_slows_nothing_else(self):
        released = threading.Event()
        self.addCleanup(released.set)

        def slow(path, query):
            if EVENTS.match(path):
                released.wait(120)
        self.api.fault = slow
        self.start_agent()
        self.send(self.web, 5000)
        self.node.until(lambda: self.api.event_requests, "the API is asked", 60)
        self.send(self.web, 5001)
        self.node.until(lambda: len(self.node.records()) == 2, "records are written", 60)
        self.api.put(policy("allow", "shop", ingress=[{}]))
        server = self.node.listen(self.web, 8080)
        self.node.until(lambda: self.node.reaches(self.client.netns, self.web.v4, 8080), "policies are enforced", 60)
        server.close()
        self.assertFalse(self.events())
        released.set()
        self.node.until(lambda: len(self.events()) == 2, "both are told", 120)
        self.assertEqual(len({path for method, path, _ in self.api.event_requests}), 1)

    def test_what_is_refused_is_counted_and_passed_over(self):
        terminating = Answer(403, status(403, "Forbidden", "unable to create new content in namespace shop because it is "
                                                           "being terminated"))
        self.api.fault = lambda path, query: terminating if "/namespaces/shop/events" in path else None
        self.start_agent()
        self.send(self.web, 5000)
        self.node.until(lambda: self.sink()["dropped"] == 1, "it is dropped", 60)
        self.assertIn("being terminated", self.sink()["error"])
        self.api.delete(namespace("shop"))
        self.api.fault = lambda path, query: None
        self.send(self.db, 6000)
        self.node.until(lambda: self.events("data"), "others go on", 60)
        self.assertEqual(self.sink().get("error"), None)
        self.node.until(self.accounted, "all is accounted for", 60)

    def test_it_is_off_unless_wanted_and_needs_the_api(self):
        answer = self.node.podfence("agent", "--source", f"dir:{self.node.objects}", "--node", "node-a", "--flow-events")
        self.assertEqual(answer.returncode, 1)
        self.assertIn("flow-events", answer.stdout)
        self.node.start_agent("--kubeconfig", self.api.kubeconfig(), source="kubernetes")
        self.assertEqual(self.node.status()["sinks"], [])


if __name__ == "__main__":
    PODFENCE = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
