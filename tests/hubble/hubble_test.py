#!/usr/bin/env python3
"""Our records through the real Hubble CLI. Usage: hubble_test.py PODFENCE GO_PROGRAMS [-v]"""
import json
import os
import re
import socket
import subprocess
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "e2e"))
from node import OUTSIDE_V4, Node, inside, policy  # noqa: E402

PODFENCE = None
HUBBLE = None
GOLDEN = os.path.join(HERE, "..", "enforcer", "flow", "golden")


def hubble_lines(log, *filters):
    """Our side: the log in Hubble's format."""
    answer = subprocess.run([PODFENCE, "flows", "--file", log, "--format", "hubble", *filters], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True)
    return answer.stdout


def observe(lines, *arguments):
    """Their side: what `hubble observe` makes of the lines. A line that it does not like is a failure."""
    answer = subprocess.run([HUBBLE, "observe", "--input-file", "-", *arguments], input=lines, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={"HOME": "/nonexistent", "TZ": "UTC"})
    if answer.returncode != 0 or answer.stderr:
        raise AssertionError(f"hubble observe {arguments}: {answer.returncode}\n{answer.stderr}")
    return answer.stdout


def flows_of(lines, *filters):
    """The flows that Hubble lets through its filters."""
    shown = observe(lines, "-o", "jsonpb", *filters).splitlines()
    return [answer["flow"] for answer in map(json.loads, shown) if "flow" in answer]


class RealRecords(unittest.TestCase):
    """client -> web (TCP, both families) and web -> db (UDP) are denied on ingress, db -> outside on egress."""

    @classmethod
    def setUpClass(cls):
        cls.node = Node(PODFENCE)
        cls.addClassCleanup(cls.node.close)
        cls.web = cls.node.add_pod("web", "shop", app="web")
        cls.db = cls.node.add_pod("db", "shop", app="db")
        cls.client = cls.node.add_pod("client", "people", app="client")
        cls.node.write_world()
        cls.node.write("policies.json", policy("deny-all", "shop", policyTypes=["Ingress"]),
                       policy("stay-inside", "shop", {"app": "db"}, policyTypes=["Egress"]))
        cls.node.start_agent("--cluster", "prod-1")
        time.sleep(0.5)  # a packet within the first commit is attributed to nobody
        cls.node.connect(cls.client.netns, cls.web.v4, 8080)
        cls.node.connect(cls.client.netns, cls.web.v6, 8080)
        with inside(cls.web.netns), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"x", (cls.db.v4, 5353))
        cls.node.connect(cls.db.netns, OUTSIDE_V4, 443)
        cls.node.until(lambda: len(cls.node.records()) >= 4, "four records are written", 20)
        cls.node.end_agent()
        cls.lines = hubble_lines(cls.node.flow_log)

    def ends(self, *filters):
        """Source pod and destination pod of what the filters let through."""
        return sorted({(f.get("source", {}).get("pod_name"), f.get("destination", {}).get("pod_name"))
                       for f in flows_of(self.lines, *filters)}, key=str)

    def test_every_record_is_read_back_as_it_was(self):
        read = flows_of(self.lines)
        self.assertEqual([f["uuid"] for f in read], [r["id"] for r in self.node.records()])
        for flow, record in zip(read, self.node.records()):
            self.assertEqual(flow["verdict"], "DROPPED")
            self.assertEqual(flow["drop_reason_desc"], "POLICY_DENIED")
            self.assertIs(flow["is_reply"], False)
            self.assertEqual(flow["traffic_direction"], record["direction"].upper())
            self.assertEqual(flow["IP"]["source"], record["source"]["ip"])
            self.assertEqual(flow["node_name"], "prod-1/node-a")
            names = [p["name"] for p in flow[f"{record['direction']}_denied_by"]]
            self.assertEqual(names, [p["name"] for p in record["policies"]])

    def test_filters_by_verdict_and_reason(self):
        everything = self.ends()
        self.assertEqual(len(everything), 3, everything)
        self.assertEqual(self.ends("--verdict", "DROPPED"), everything)
        self.assertEqual(self.ends("--verdict", "FORWARDED"), [])
        self.assertEqual(self.ends("--drop-reason-desc", "POLICY_DENIED"), everything)
        self.assertEqual(self.ends("--drop-reason-desc", "INVALID_SOURCE_IP"), [])
        self.assertEqual(self.ends("--type", "policy-verdict"), everything)
        self.assertEqual(self.ends("--not-reply"), everything)

    def test_filters_by_ends(self):
        client_web, web_db, db_outside = ("client", "web"), ("web", "db"), ("db", None)
        self.assertEqual(self.ends("--namespace", "people"), [client_web])
        self.assertEqual(self.ends("--from-pod", "shop/web"), [web_db])
        self.assertEqual(self.ends("--to-pod", "shop/web"), [client_web])
        self.assertEqual(self.ends("--pod", "shop/db"), sorted([web_db, db_outside], key=str))
        self.assertEqual(self.ends("--to-ip", OUTSIDE_V4), [db_outside])
        self.assertEqual(self.ends("--from-ip", "10.1.0.0/24", "--not", "--to-pod", "shop/web"),
                         sorted([web_db, db_outside], key=str))
        self.assertEqual(self.ends("--to-label", "reserved:world"), [db_outside])
        self.assertEqual(self.ends("--to-identity", "world"), [db_outside])

    def test_filters_by_transport_direction_node_and_time(self):
        self.assertEqual(self.ends("--to-port", "8080"), [("client", "web")])
        self.assertEqual(self.ends("--protocol", "udp"), [("web", "db")])
        self.assertEqual(len(flows_of(self.lines, "--ipv6")), 1)
        self.assertEqual(self.ends("--traffic-direction", "egress"), [("db", None)])
        self.assertEqual(self.ends("--tcp-flags", "syn", "--protocol", "udp"), [])
        self.assertEqual(self.ends("--node-name", "prod-1/node-a"), self.ends())
        self.assertEqual(self.ends("--node-name", "prod-1/node-b"), [])
        self.assertEqual(self.ends("--since", "5m"), self.ends())
        self.assertEqual(self.ends("--until", "2020-01-01"), [])
        self.assertEqual(len(flows_of(self.lines, "--last", "1")), 1)

    def test_compact_names_ends_verdict_and_policy(self):
        shown = observe(self.lines, "-o", "compact", "--to-port", "8080", "--ipv4")
        self.assertRegex(shown, r": people/client:\d+ \(unknown\) -> shop/web:8080 \(unknown\) "
                                r"policy-verdict:none INGRESS DENIED \(TCP Flags: SYN.*default_deny by shop/deny-all\)\n$")
        named = observe(self.lines, "-o", "compact", "--print-policy-names", "--to-ip", OUTSIDE_V4)
        self.assertRegex(named, rf"-> {OUTSIDE_V4}:443 \(world\) .*EGRESS DENIED BY stay-inside \(NetworkPolicy\)")

    def test_dict_and_table(self):
        shown = observe(self.lines, "-o", "dict", "--protocol", "udp", "--print-node-name")
        for expected in ("       NODE: prod-1/node-a", "DESTINATION: shop/db:5353", "    VERDICT: DENIED"):
            self.assertIn(expected, shown.splitlines())
        table = observe(self.lines, "-o", "table", "--protocol", "udp").splitlines()
        self.assertEqual(len(table), 2)
        self.assertIn("shop/db:5353", table[1])

    def test_our_filters_and_theirs_agree(self):
        for ours, theirs in ((("--from", "shop/web"), ("--from-pod", "shop/web")),
                             (("--port", "8080"), ("--to-port", "8080")),
                             (("--to", "!10.1.0.0/16", "--to", "!::/0"), ("--not", "--to-ip", "10.1.0.0/16", "--not",
                                                                          "--to-ip", "::/0"))):
            mine = [f["uuid"] for f in flows_of(hubble_lines(self.node.flow_log, *ours))]
            self.assertEqual(mine, [f["uuid"] for f in flows_of(self.lines, *theirs)], ours)
            self.assertTrue(mine, ours)


class HostileRecords(unittest.TestCase):
    """What the unit test writes: control characters, quotes, broken UTF-8, replies, losses, every type of end."""

    @classmethod
    def setUpClass(cls):
        cls.lines = hubble_lines(os.path.join(GOLDEN, "native.jsonl"))

    def test_every_line_is_read(self):
        lines = self.lines.splitlines()
        self.assertGreater(len(lines), 8)
        self.assertEqual(len(observe(self.lines, "-o", "jsonpb").splitlines()), len(lines))

    def test_no_control_character_comes_out(self):
        for output in ("compact", "dict", "table", "jsonpb"):
            shown = observe(self.lines, "-o", output, "--print-policy-names", "--print-node-name")
            self.assertIsNone(re.search(r"[^\x20-\x7e\n]", shown), output)
        compact = observe(self.lines, "-o", "compact").splitlines()
        self.assertEqual(len(compact), len(self.lines.splitlines()), "each record is one line")

    def test_a_reply_points_back_and_a_loss_is_shown(self):
        shown = observe(self.lines, "-o", "compact")
        self.assertIn("shop/web-7d9f-x1:43210 (unknown) <- db/pg-0:5432 (unknown)", shown)
        self.assertIn("EVENTS LOST: PERF_EVENT_RING_BUFFER CPU(0) 1312", shown)
        self.assertNotIn("<>", shown)
        self.assertIn("UNKNOWN ERROR (47; 14 packets; unattributed)", shown, "of a foreign rule no verdict is claimed")

    def test_other_verdicts(self):
        self.assertEqual(len(flows_of(self.lines, "--verdict", "FORWARDED")), 1)
        self.assertEqual(len(flows_of(self.lines, "--verdict", "AUDIT")), 1)
        self.assertEqual(len(flows_of(self.lines, "--verdict", "ERROR")), 1)
        self.assertEqual(len(flows_of(self.lines, "--drop-reason-desc", "INVALID_SOURCE_IP")), 1)
        self.assertEqual(len(flows_of(self.lines, "--reply")), 1)


if __name__ == "__main__":
    PODFENCE = os.path.abspath(sys.argv.pop(1))
    build = [os.path.abspath(sys.argv.pop(1)), os.path.dirname(os.path.abspath(__file__))]
    HUBBLE = os.path.join(subprocess.run(build, text=True, stdout=subprocess.PIPE, check=True).stdout.strip(), "hubble")
    unittest.main(verbosity=2)
