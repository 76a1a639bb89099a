#!/usr/bin/env python3
"""Allowed flows of namespaces with the label podfence.io/observe: real packets, exact counts, runs that are killed.
Usage: observe_test.py PODFENCE [-v]"""
import collections
import itertools
import json
import os
import signal
import socket
import sys
import unittest

from node import Node, inside, namespace, node_object, policy, run

PODFENCE = None
SPACES = ("seen", "other")


class ObserveTest(unittest.TestCase):
    def setUp(self):
        self.node = Node(PODFENCE)
        self.addCleanup(self.node.close)
        self.pods = [self.node.add_pod(name, space, app=name) for space in SPACES for name in ("a", "b")]
        peer = {"podSelector": {"matchLabels": {"app": "a"}}, "namespaceSelector": {}}
        # Everybody's pod b admits pods a, on TCP 8080 and UDP 53 alone; a pod a admits everybody.
        ports = [{"port": 8080}, {"port": 53, "protocol": "UDP"}]
        self.node.write("policies.json", *[policy("only-a", space, {"app": "b"}, ingress=[{"from": [peer], "ports": ports}])
                                           for space in SPACES])
        self.label("seen")
        self.allowed_log = os.path.join(self.node.directory, "flows-allowed.jsonl")

    def label(self, *observed):
        marked = {"podfence.io/observe": "true"}
        self.node.write("world.json", node_object(), *[namespace(n, **(marked if n in observed else {})) for n in SPACES],
                        *[pod.manifest() for pod in self.pods])

    def records(self, kind="flow"):
        if not os.path.exists(self.allowed_log):
            return []
        with open(self.allowed_log, encoding="utf-8") as log:
            return [record for record in map(json.loads, log) if record["type"] == kind]

    def counted(self, *names):
        listed = json.loads(self.node.exec("nft", "-j", "list", "counters", "table", "inet", "podfence_observe").stdout)
        return sum(c["counter"]["packets"] for c in listed["nftables"] if "counter" in c and c["counter"]["name"] in names)

    def flows(self):
        """Packets of the kernel's counters, and packets of records and stated losses."""
        lost = sum(r["lost"] for r in self.records("loss") if r["exact"])
        return self.counted("observed_in", "observed_out"), sum(r["count"] for r in self.records()) + lost

    def until_exact(self, count):
        self.node.until(lambda: self.flows() == (count, count), f"{count} flows are counted and accounted for", 60)

    def datagram(self, sender, receiver, port, times=1, family=socket.AF_INET, own_port=0):
        with inside(sender.netns):
            s = socket.socket(family, socket.SOCK_DGRAM)
        s.bind(("", own_port))
        for _ in range(times):
            s.sendto(b"?", (receiver.v4 if family == socket.AF_INET else receiver.v6, port))
        s.close()

    def test_a_matrix_of_allowed_and_denied_flows(self):
        self.node.start_agent()
        self.assertEqual(self.node.status()["observed"]["addresses"], 4)
        servers = [self.node.listen(pod, 8080) for pod in self.pods]
        servers += [self.node.listen(pod, 8080, socket.AF_INET6) for pod in self.pods]
        expected, denied = collections.Counter(), 0
        for source, target in itertools.permutations(self.pods, 2):
            for transport, port, family in (("tcp", 8080, socket.AF_INET), ("udp", 53, socket.AF_INET),
                                            ("udp", 9999, socket.AF_INET), ("tcp", 8080, socket.AF_INET6)):
                passes = target.name == "a" or (source.name == "a" and port != 9999)
                if transport == "udp":
                    self.datagram(source, target, port, times=3)  # unanswered: conntrack calls all of them new
                else:
                    address = target.v4 if family == socket.AF_INET else target.v6
                    self.assertEqual(self.node.reaches(source.netns, address, port, 5 if passes else 0.1), passes)
                denied += 0 if passes else 1
                if passes and "seen" in (source.namespace, target.namespace):
                    direction = "egress" if source.namespace == "seen" else "ingress"
                    version = "ipv4" if family == socket.AF_INET else "ipv6"
                    expected[f"{source.namespace}/{source.name}", f"{target.namespace}/{target.name}", transport, port,
                             direction, version] += 1
        for server in servers:
            server.close()
        self.until_exact(sum(expected.values()))
        seen = collections.Counter()
        name = lambda end: f"{end['k8s']['namespace']}/{end['k8s']['pod']}"
        for r in self.records():
            seen[name(r["source"]), name(r["destination"]), r["network"]["transport"], r["destination"]["port"],
                 r["direction"], r["network"]["type"]] += r["count"]
            self.assertEqual((r["verdict"], r["action"], r["enforced"]), ("allow", "accept", True))
            to_b = r["destination"]["k8s"]["pod"] == "b"
            self.assertEqual(r["reason"], "explicit_allow" if to_b else "not_selected", r)
            rules = [(p["namespace"], p["name"], p["rule"], p["role"]) for p in r.get("policies", [])]
            self.assertEqual(rules, [(r["destination"]["k8s"]["namespace"], "only-a", "ingress[0]", "matched")] if to_b else [])
        self.assertEqual(seen, expected)
        self.node.until(lambda: {r["verdict"] for r in self.node.records()} == {"deny"}, "denied ones are in their own log", 60)
        self.assertGreater(denied, 0)
        shown = self.node.podfence("flows", "--socket", self.node.socket, "--verdict", "allow", "--to", "seen/b", "--port",
                                   "8080").stdout
        self.assertIn("allow egress seen/a", shown)
        self.assertIn("by seen/only-a", shown)
        hubble = self.node.podfence("flows", "--file", self.allowed_log, "--verdict", "allow", "--format", "hubble").stdout
        self.assertEqual({json.loads(line)["flow"]["verdict"] for line in hubble.splitlines()}, {"FORWARDED"})

    def test_on_and_off_touch_no_flow_and_a_kill_loses_no_count(self):
        self.label()
        self.node.start_agent()
        tables = self.node.exec("nft", "list", "tables").stdout
        self.assertNotIn("podfence_observe", tables, "nothing for who observes nothing")
        self.assertFalse(os.path.exists(self.allowed_log))
        program = self.node.exec("nft", "-s", "list", "table", "inet", "podfence").stdout
        a, b = self.pods[0], self.pods[1]
        server = self.node.listen(b, 8080)
        client = self.node.connect(a.netns, b.v4, 8080, 5)
        accepted, _ = server.accept()

        def talks():
            client.sendall(b"x")
            return accepted.recv(1) == b"x"
        self.assertTrue(talks())
        self.label("seen")
        self.node.until(lambda: self.node.status().get("observed", {}).get("addresses") == 4, "it observes", 60)
        self.assertTrue(talks())
        self.assertEqual(self.node.exec("nft", "-s", "list", "table", "inet", "podfence").stdout, program)
        self.datagram(a, b, 53, times=5)
        self.until_exact(1)
        self.node.end_agent(signal.SIGKILL)
        for i in range(7):
            self.datagram(a, b, 53, own_port=20000 + i)
        self.assertTrue(talks())
        self.node.start_agent()
        self.until_exact(8)
        self.assertEqual(sum(r["lost"] for r in self.records("loss")), 7)
        self.label()
        self.node.until(lambda: "hook" not in self.node.exec("nft", "list", "table", "inet", "podfence_observe").stdout,
                        "no packet comes to it any more", 60)
        self.assertTrue(talks())
        self.datagram(a, b, 53)
        self.label("seen")
        self.node.until(lambda: "hook" in self.node.exec("nft", "list", "table", "inet", "podfence_observe").stdout,
                        "it observes again", 60)
        self.datagram(a, b, 53)
        self.until_exact(9)
        for each in (client, accepted, server):
            each.close()

    def test_a_flood_is_bounded_stated_and_takes_nothing_from_denied_flows(self):
        self.node.start_agent()
        a, b = self.pods[0], self.pods[1]
        flood, refused = 2000, 50
        for i in range(flood):
            self.datagram(a, b, 53, own_port=20000 + i)
            if i % (flood // refused) == 0:
                self.datagram(a, b, 9999)
        self.until_exact(flood)
        self.assertIn("kernel_limit", {r["stage"] for r in self.records("loss")})
        self.assertGreater(self.counted("over_source"), 0)
        self.node.until(lambda: sum(r["count"] for r in self.node.records()) == refused, "every denied one has its record", 60)
        self.assertEqual(self.node.records("loss"), [])

    def test_what_somebody_else_does_to_the_table_is_mended_and_told(self):
        self.node.start_agent("--verify-seconds", "1")
        a, b = self.pods[0], self.pods[1]
        table = "inet", "podfence_observe"
        listed = lambda: self.node.exec("nft", "-s", "list", "table", *table, check=False).stdout
        whole, repairs = listed(), 0
        self.assertIn("10.1.0.2", whole)
        for change in (("flush", "table", *table), ("delete", "table", *table), ("flush", "set", *table, "observed4"),
                       ("insert", "rule", *table, "first", "accept")):
            self.node.exec("nft", *change)
            repairs += 1
            self.node.until(lambda: self.node.status()["observed"]["repairs"] == repairs, f"mended: {change}", 60)
            self.assertEqual(listed(), whole)
        self.node.until(lambda: [r["detection"] for r in self.node.records("detection")] == ["agent_tamper"], "told", 60)
        self.assertEqual(len(self.records("agent")), repairs + 1, "and the start")
        self.datagram(a, b, 53)
        self.node.until(lambda: self.records(), "it observes as before", 60)

    def test_the_text_of_the_table_is_what_nft_prints(self):
        """The rules as nft reads them, and reads again."""
        self.node.start_agent()
        listed = self.node.exec("nft", "-s", "list", "table", "inet", "podfence_observe").stdout
        self.assertIn("type filter hook forward priority 1; policy accept;", listed.replace("filter + 1", "1"))
        self.assertRegex(listed, r"ct state new ct status .*confirmed jump first")
        self.assertNotIn("drop", listed)
        path = os.path.join(self.node.directory, "listing.nft")
        with open(path, "w", encoding="ascii") as out:
            out.write(listed)
        run("unshare", "-n", "nft", "-f", path)


if __name__ == "__main__":
    PODFENCE = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
