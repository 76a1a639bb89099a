#!/usr/bin/env python3
"""What each policy denied, by the kernel's counters: real packets while policies, agents and tables come and go.
Usage: policy_counters_test.py PODFENCE [-v]"""
import json
import os
import random
import signal
import socket
import sys
import threading
import unittest

from node import Node, inside, policy

PODFENCE = None


class PolicyCountersTest(unittest.TestCase):
    def setUp(self):
        self.node = Node(PODFENCE)
        self.addCleanup(self.node.close)
        self.web = self.node.add_pod("web", "shop", app="web")
        self.db = self.node.add_pod("db", "shop", app="db")
        self.client = self.node.add_pod("client", "people", app="client")
        self.node.write_world()
        self.write()
        self.senders = {}

    def write(self, *more):
        self.node.write("policies.json", policy("deny-all", "shop", policyTypes=["Ingress"]),
                        policy("db", "shop", {"app": "db"}, policyTypes=["Ingress"]), *more)

    def send(self, sender, address, times):
        """Datagrams of one byte, of one flow."""
        key = sender.netns, ":" in address
        if key not in self.senders:
            with inside(sender.netns):
                self.senders[key] = socket.socket(socket.AF_INET6 if key[1] else socket.AF_INET, socket.SOCK_DGRAM)
            self.addCleanup(self.senders[key].close)
        for _ in range(times):
            self.senders[key].sendto(b"?", (address, 53))

    def counted(self, kind="packets"):
        """{(direction, policy): number} of namespace shop, and of people as "people/POLICY"."""
        found = {}
        for sample, value in self.node.metrics().items():
            name, _, labels = sample.partition("{")
            if name == f"podfence_policy_{kind}_total":
                labels = dict(label.split("=", 1) for label in labels.rstrip("}").replace('"', "").split(","))
                space = labels["policy_namespace"]
                self.assertEqual((labels["verdict"], labels["reason"]), ("deny", "default_deny"))
                found[labels["direction"], ("" if space == "shop" else space + "/") + labels["policy"]] = int(value)
        return found

    def until_counted(self, **expected):
        """Of ingress to pods of shop."""
        wanted = {("ingress", name.replace("_", "-")): count for name, count in expected.items()}
        self.node.until(lambda: self.counted() == wanted, f"{wanted}, not {self.counted()}")

    def numbers(self):
        """Of the kernel's sets."""
        listed = [json.loads(self.node.exec("nft", "-j", "list", "set", "inet", "podfence", f"denied_by_{way}").stdout)
                  for way in ("in", "out")]
        return [element for answer in listed for element in answer["nftables"][1]["set"].get("elem", [])]

    def test_packets_and_bytes_of_each_policy(self):
        self.write(policy("nothing-out", "people", policyTypes=["Egress"], egress=[{"to": [{"podSelector": {}}]}]))
        self.node.start_agent()
        self.assertEqual(set(self.counted().values()), {0}, "policies that denied nothing are there")
        self.send(self.db, self.web.v4, 7)
        self.send(self.web, self.db.v4, 5)
        self.send(self.web, self.db.v6, 3)
        self.send(self.client, self.web.v4, 2)  # denied where it leaves, and not judged again
        self.assertEqual(self.counted(), {("ingress", "deny-all"): 15, ("ingress", "db"): 8, ("egress", "people/nothing-out"): 2})
        denied = {p["policy"]: p["denied_packets"] for p in self.node.status()["policies"]}
        self.assertEqual(denied, {"deny-all": 15, "db": 8, "nothing-out": 2})
        self.assertIn("shop/db  ingress  1 pods  8 packets denied", self.node.podfence("status", "--socket", self.node.socket).stdout)
        self.assertEqual(self.counted("bytes"), {("ingress", "deny-all"): 12 * 29 + 3 * 49, ("ingress", "db"): 5 * 29 + 3 * 49,
                                                 ("egress", "people/nothing-out"): 2 * 29})  # fmt: skip
        self.node.until(lambda: sum(r["count"] for r in self.node.records() if r["direction"] == "ingress" and
                                    "db" in [p["name"] for p in r["policies"]]) == 8, "the log says the same")  # fmt: skip

    def test_while_policies_come_and_go_every_packet_counts_once(self):
        """`deny-all` isolates all the time: it has every packet, whatever sets it was in."""
        seed = int(os.environ.get("PODFENCE_SEED", random.randrange(1 << 30)))
        print(f"  PODFENCE_SEED={seed}", flush=True)
        dice = random.Random(seed)
        self.node.start_agent()
        ended = threading.Event()

        def send():
            while not ended.is_set():
                self.send(self.client, self.web.v4, 20)
                ended.wait(0.001)

        sender = threading.Thread(target=send)
        sender.start()
        try:
            for _ in range(40):
                also = [policy(f"also-{n}", "shop", policyTypes=["Ingress"]) for n in range(3) if dice.random() < 0.5]
                self.write(*also)
                names = {"shop/" + p["metadata"]["name"] for p in also} | {"shop/deny-all", "shop/db"}
                self.node.until(lambda names=names: {"{namespace}/{policy}".format(**p) for p in self.node.status()["policies"]} == names, "enforced")
        finally:
            ended.set()
            sender.join()
        total = self.node.counters()["denied_in"]
        self.assertGreater(total, 1000)
        counted = self.counted()
        self.assertEqual(counted["ingress", "deny-all"], total)
        self.assertEqual(counted["ingress", "db"], 0)
        for name in ("also-0", "also-1", "also-2"):
            self.assertTrue(0 < counted["ingress", name] < total, counted)
        print(f"  {total} packets, 40 changes: {counted}", flush=True)
        self.node.until(lambda: len(self.numbers()) <= 1, "the kernel counts under what is in use, and nothing else")
        self.assertEqual(self.counted(), counted, "and nothing was lost by that")

    def test_agents_and_tables_come_and_go(self):
        self.node.start_agent()
        self.send(self.client, self.web.v4, 4)
        self.send(self.client, self.db.v4, 2)
        self.until_counted(deny_all=6, db=2)
        self.node.end_agent(signal.SIGKILL)
        self.send(self.client, self.db.v4, 3)  # the kernel counts on
        self.node.start_agent()
        self.until_counted(deny_all=9, db=5)
        self.node.end_agent()
        self.write(policy("also", "shop", policyTypes=["Ingress"]))
        self.send(self.client, self.web.v4, 1)
        self.node.start_agent()
        self.send(self.client, self.web.v4, 1)
        self.until_counted(deny_all=11, db=5, also=1)
        self.node.exec("nft", "delete", "table", "inet", "podfence")
        self.node.until(lambda: "denied_by_in" in self.node.exec("nft", "list", "tables").stdout or
                        "denied_in" in self.node.counters(), "mended")  # fmt: skip
        self.send(self.client, self.web.v4, 2)
        self.until_counted(deny_all=13, db=5, also=3)
        self.node.end_agent(signal.SIGKILL)
        self.node.start_agent()
        self.until_counted(deny_all=13, db=5, also=3)

    def test_a_state_that_is_damaged_stops_nothing(self):
        self.node.start_agent()
        self.send(self.client, self.web.v4, 4)
        self.until_counted(deny_all=4, db=0)
        self.node.end_agent()
        with open(os.path.join(self.node.state, "policy-account.json"), "w", encoding="utf-8") as state:
            state.write('{"format":"podfence.policy-account/v1","sets":[{"direction"')
        self.node.start_agent()
        self.assertIn("policy-account.json", self.node.agent_log())
        self.send(self.client, self.web.v4, 1)
        self.until_counted(deny_all=1, db=0)


if __name__ == "__main__":
    PODFENCE = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
