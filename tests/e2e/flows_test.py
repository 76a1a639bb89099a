#!/usr/bin/env python3
"""`podfence flows` beside a real agent: history over a kill and a rotation, following, exit codes, terminals.
Usage: flows_test.py PODFENCE [-v]"""
import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import unittest

from node import Node, policy

PODFENCE = None


class FlowsTest(unittest.TestCase):
    def setUp(self):
        self.node = Node(PODFENCE)
        self.addCleanup(self.node.close)
        self.web = self.node.add_pod("web", "shop", app="web")
        self.client = self.node.add_pod("client", "people", app="client")
        self.node.write_world()
        self.node.write("policies.json", policy("deny-all", "shop", policyTypes=["Ingress"]))
        self.node.start_agent()

    def flows(self, *arguments):
        return self.node.podfence("flows", "--socket", self.node.socket, *arguments)

    def ports(self, *arguments):
        """Destination ports of the denied flows, in the order in which they are shown."""
        lines = self.flows("-o", "json", "--deny", *arguments).stdout.splitlines()
        return [json.loads(line)["destination"]["port"] for line in lines if '"type":"flow"' in line]

    def deny(self, port):
        """A denied connection; returns when its record is there."""
        self.assertIsNone(self.node.connect(self.client.netns, self.web.v4, port, 0.1))
        self.node.until(lambda: port in self.ports(), f"the record of port {port}", 20)

    def rotate(self):
        """As a rotation does it: the agent goes on with a new file."""
        rotated = os.path.join(self.node.directory, "rotated")
        os.makedirs(rotated, exist_ok=True)
        number = len(os.listdir(rotated))
        os.rename(self.node.flow_log, os.path.join(rotated, f"flows-20261123T17300{number}.000000Z.jsonl"))

    def test_history_goes_over_kills_and_rotations(self):
        self.deny(1001)
        self.node.end_agent(signal.SIGKILL)
        self.node.start_agent()
        self.deny(1002)
        self.rotate()
        self.deny(1003)
        self.node.end_agent()
        self.node.start_agent()
        self.deny(1004)
        self.assertEqual(self.ports(), [1001, 1002, 1003, 1004])
        self.assertEqual(self.ports("--last", "2"), [1003, 1004])
        self.assertEqual(self.ports("--port", "!1002", "--from", "people/", "--to", "!shop/db"), [1001, 1003, 1004])
        starts = [line for line in self.flows().stdout.splitlines() if " agent start" in line]
        self.assertEqual(len(starts), 3, starts)

    def test_following_shows_each_record_once_across_a_rotation(self):
        self.deny(1001)
        follower = subprocess.Popen(
            ["ip", "netns", "exec", self.node.netns, PODFENCE, "flows", "--socket", self.node.socket, "-f", "--deny",
             "-o", "json"], stdout=subprocess.PIPE, text=True)
        try:
            seen = []
            for port in (1001, 1002, 1003):
                if port != 1001:
                    self.deny(port)
                line = json.loads(follower.stdout.readline())
                seen.append(line["destination"]["port"])
                if port == 1002:
                    self.rotate()
            self.assertEqual(seen, [1001, 1002, 1003])
        finally:
            follower.kill()
            follower.wait()
            follower.stdout.close()

    def test_exit_codes(self):
        self.deny(1001)
        self.assertEqual(self.flows("--from", "people/client").returncode, 0)
        nothing = self.flows("--from", "shop/web")
        self.assertEqual((nothing.returncode, "no record matches" in nothing.stdout), (2, True), nothing.stdout)
        for wrong, named in ((("--from", "10.0.0.0/33"), "--from"), (("--port", "0"), "--port"),
                             (("--last", "-1"), "--last"), (("--verdict", "drop"), "--verdict"),
                             (("--format", "xml"), "--format"), (("--since", "soon"), "--since"),
                             (("--until", "1h", "-f"), "--until"), (("--file", "/nowhere"), "/nowhere")):
            answer = self.flows(*wrong)
            self.assertEqual(answer.returncode, 1, f"{wrong}: {answer.stdout}")
            self.assertIn(named, answer.stdout)

    def test_labels(self):
        self.deny(1001)
        self.assertNotIn("labels", json.dumps(self.node.records()))
        refused = self.flows("--from", "app=client")
        self.assertEqual((refused.returncode, "the agent writes no labels" in refused.stdout), (1, True), refused.stdout)
        self.node.end_agent()
        self.node.start_agent("--flow-labels", "tier,app")
        self.deny(1002)
        ends = [(r["source"]["k8s"].get("labels"), r["destination"]["k8s"].get("labels")) for r in self.node.records()]
        self.assertEqual(ends, [(None, None), ({"app": "client"}, {"app": "web"})])
        self.assertEqual(self.ports("--from", "app=client", "--to", "app=web"), [1002])
        self.assertEqual(self.ports("--from", "!app=client"), [1001], "what a record does not say is not excluded")
        self.assertEqual(self.flows("--from", "tier=front").returncode, 2, "records could tell")
        other = self.flows("--to", "!team=shop")
        self.assertEqual((other.returncode, "only the labels tier,app" in other.stdout), (1, True), other.stdout)
        hubble = self.flows("--from", "app=client", "-o", "hubble").stdout.splitlines()[0]
        self.assertEqual(json.loads(hubble)["flow"]["source"]["labels"], ["k8s:app=client"])
        self.node.end_agent()
        bad = self.node.podfence("agent", "--source", f"dir:{self.node.objects}", "--node", "node-a", "--flow-labels", "a b")
        self.assertEqual((bad.returncode, "flow-labels 'a b'" in bad.stdout), (1, True), bad.stdout)

    def on_a_terminal(self, columns, **environment):
        """The lines that are shown on a terminal that wide."""
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        inherited = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
        shown = subprocess.Popen([PODFENCE, "flows", "--file", self.node.flow_log, "--deny"], stdout=slave,
                                 env={**inherited, **environment})
        os.close(slave)
        self.assertEqual(shown.wait(timeout=20), 0)
        text = os.read(master, 65536).decode()
        os.close(master)
        return text.splitlines()

    def test_text_fits_the_terminal_and_names_the_policy(self):
        self.deny(1001)
        for columns, environment in ((80, {}), (70, {}), (200, {"COLUMNS": "72"})):
            width = int(environment.get("COLUMNS", columns))
            for line in self.on_a_terminal(columns, **environment):
                self.assertLessEqual(len(line), width)
                self.assertIn("by shop/deny-all", line)
        self.assertIn(f"people/client {self.client.v4}:", self.on_a_terminal(200)[0])
        self.assertIn(f"people/client {self.client.v4}:", self.flows("--deny").stdout, "piped: everything")


if __name__ == "__main__":
    PODFENCE = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
