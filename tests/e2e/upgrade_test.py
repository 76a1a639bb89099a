#!/usr/bin/env python3
"""An agent of another version was here before, or comes after: no packet goes another way meanwhile.
Usage: upgrade_test.py PODFENCE [-v]; PODFENCE_OTHER=PROGRAM: another build, which then takes turns with this one.
data/table-*.nft: what versions before this one made of this test's world, as `nft -s list table` shows it."""
import glob
import json
import os
import re
import select
import signal
import socket
import sys
import threading
import time
import unittest

from node import Node, inside, policy

PODFENCE = None
DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data")
RCVBUFFORCE = 33  # SO_RCVBUFFORCE of asm-generic/socket.h
# What a later version's table may hold that this one's does not.
NEWER = """
add set inet podfence in_newer4 { type ipv4_addr; }
add chain inet podfence newer
add rule inet podfence newer ip saddr @in_newer4 drop
insert rule inet podfence forward ip saddr 192.0.2.99 drop
"""


class Traffic:
    """Datagrams to `web`, each a flow of its own: from `good`, which may, and from `bad`, which may not; and one connection."""

    def __init__(self, node, web, good, bad):
        self.node, self.ended = node, threading.Event()
        self.sockets = {}
        for name, pod in (("good", good), ("bad", bad)):
            for family, address in ((socket.AF_INET, web.v4), (socket.AF_INET6, web.v6)):
                self.sockets[name, family] = (pod.netns, (address, 53))
        self.receivers = []
        with inside(web.netns):
            for family, to in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
                receiver = socket.socket(family, socket.SOCK_DGRAM)
                if family == socket.AF_INET6:
                    receiver.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                receiver.setsockopt(socket.SOL_SOCKET, RCVBUFFORCE, 8 << 20)
                receiver.bind((to, 53))
                self.receivers.append(receiver)
        self.sent = {"good": 0, "bad": 0}
        self.arrived = {"good": [], "bad": []}
        self.server = node.listen(web, 8080)
        self.client = node.connect(good.netns, web.v4, 8080, 5)
        self.peer = self.server.accept()[0]
        self.threads = [threading.Thread(target=run_) for run_ in (self.send, self.receive)]
        for thread in self.threads:
            thread.start()

    def send(self):
        while not self.ended.is_set():
            for (name, family), (netns, to) in self.sockets.items():
                with inside(netns), socket.socket(family, socket.SOCK_DGRAM) as sender:
                    sender.sendto(f"{name} {self.sent[name]}".encode(), to)
                self.sent[name] += 1
            time.sleep(0.001)

    def receive(self):
        while True:
            ready = select.select(self.receivers, [], [], 0.5)[0]
            for receiver in ready:
                name, number = receiver.recv(64).decode().split()
                self.arrived[name].append(int(number))
            if not ready and self.ended.is_set():
                return

    def connection_lives(self):
        self.client.send(b"x")
        self.peer.settimeout(5)
        return self.peer.recv(1) == b"x"

    def end(self):
        self.ended.set()
        for thread in self.threads:
            thread.join()
        for s in (*self.receivers, self.server, self.client, self.peer):
            s.close()


class UpgradeTest(unittest.TestCase):
    def setUp(self):
        self.node = Node(PODFENCE)
        self.addCleanup(self.node.close)
        web = self.node.add_pod("web", "shop", app="web")
        good = self.node.add_pod("good", "people", app="good")
        self.bad = self.node.add_pod("bad", "people", app="bad")
        self.node.write_world()
        peer = {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "good"}}}
        self.node.write("policies.json", policy("web", "shop", {"app": "web"}, ingress=[
            {"from": [peer], "ports": [{"port": 8080}, {"port": 53, "protocol": "UDP"}]}]))  # fmt: skip
        self.pods = web, good, self.bad

    def begin(self):
        traffic = Traffic(self.node, *self.pods)
        self.addCleanup(traffic.end)
        return traffic

    def settled(self, traffic):
        """Everything has been judged as the policy says, and some of it by each table."""
        traffic.ended.set()
        for thread in traffic.threads:
            thread.join()
        self.assertGreater(traffic.sent["bad"], 100)
        self.assertEqual(traffic.arrived["bad"], [])
        self.assertEqual(set(range(traffic.sent["good"])) - set(traffic.arrived["good"]), set(), "did not arrive")
        self.assertTrue(traffic.connection_lives())

    def table(self):
        """Its parts, sorted, without what packets put into them."""
        listed = re.sub(r"\n\t\telements = \{[^}]* (limit|counter) [^}]*\}", "", self.listing())
        return sorted(part.strip("\n}\t") for part in listed.removeprefix("table inet podfence {").split("\n\n"))

    def listing(self):
        return self.node.exec("nft", "-s", "list", "table", "inet", "podfence").stdout

    def load(self, text):
        """In one transaction, as an agent does."""
        path = os.path.join(self.node.directory, "table.nft")
        with open(path, "w", encoding="utf-8") as file:
            file.write("table inet podfence\ndelete table inet podfence\n" + text)
        self.node.exec("nft", "-f", path)

    def flows_pass(self, seconds=1.0):
        """Nothing to wait for: it is about what does not happen."""
        time.sleep(seconds)

    def test_the_table_of_every_version_before_is_replaced_under_traffic(self):
        tables = sorted(glob.glob(os.path.join(DATA, "table-*.nft")))
        self.assertTrue(tables)
        self.node.start_agent()
        mine = self.table()
        self.node.end_agent()
        for path in tables:
            with self.subTest(os.path.basename(path)):
                with open(path, encoding="utf-8") as file:
                    self.load(file.read())
                self.assertNotEqual(self.table(), mine, "it is of another version")
                traffic = self.begin()
                self.flows_pass()
                self.node.start_agent()
                self.assertEqual(self.table(), mine)
                self.flows_pass()
                self.node.end_agent(signal.SIGKILL)
                self.flows_pass(0.2)
                self.settled(traffic)
                print(f"  {os.path.basename(path)}: {traffic.sent}", flush=True)

    def test_the_table_of_a_later_version_is_replaced_under_traffic(self):
        """A rollback: whatever a later version's table holds."""
        self.node.start_agent()
        mine = self.table()
        path = os.path.join(self.node.directory, "newer.nft")
        with open(path, "w", encoding="utf-8") as file:
            file.write(NEWER)
        traffic = self.begin()
        for _ in range(10):  # a moment is soon missed
            self.node.end_agent(signal.SIGKILL)
            self.node.exec("nft", "-f", path)
            self.assertNotEqual(self.table(), mine)
            self.node.start_agent()
            self.assertEqual(self.table(), mine)
        self.settled(traffic)

    def test_what_somebody_else_broke_is_mended_under_traffic(self):
        self.node.start_agent()
        mine = self.table()
        traffic = self.begin()
        for number in range(10):
            self.node.exec("nft", "add", "set", "inet", "podfence", f"foreign{number}", "{ type ipv4_addr; }")
            self.node.until(lambda: self.table() == mine, "mended")
        self.settled(traffic)

    def test_state_of_a_later_version_is_passed_over_and_said(self):
        self.node.start_agent()
        self.assertFalse(self.node.reaches(self.bad.netns, self.pods[0].v4, 8080, 0.1))
        self.node.until(self.node.records, "a record")
        self.node.end_agent()
        files = [name for name in os.listdir(self.node.state) if name.endswith(".json")]
        self.assertIn("flow-account.json", files)
        self.assertIn("policy-account.json", files)
        for name in files:
            path = os.path.join(self.node.state, name)
            with open(path, encoding="utf-8") as file:
                state = json.load(file)
            key = "format" if "format" in state else "schema"
            state[key] = state[key].rsplit("/", 1)[0] + "/v9"
            with open(path, "w", encoding="utf-8") as file:
                json.dump(state, file)
        self.node.start_agent()
        self.assertFalse(self.node.reaches(self.bad.netns, self.pods[0].v4, 8080, 0.1))
        for name in files:
            self.node.until(lambda name=name: f"{name}: unknown format" in self.node.agent_log() + str(self.node.records("agent")),
                            f"{name} is said to be passed over")

    def test_two_programs_take_turns(self):
        other = os.environ.get("PODFENCE_OTHER", PODFENCE)
        self.node.start_agent()
        traffic = self.begin()
        for turn in range(6):
            self.flows_pass(0.5)
            self.node.end_agent(signal.SIGKILL if turn % 2 else signal.SIGTERM)
            self.node.binary = other if turn % 2 == 0 else PODFENCE
            self.node.start_agent()
        self.flows_pass(0.5)
        self.settled(traffic)
        print(f"  6 turns of two programs: {traffic.sent}", flush=True)


if __name__ == "__main__":
    PODFENCE = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
