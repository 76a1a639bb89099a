#!/usr/bin/env python3
"""Flow records to syslog and to the journal: a real rsyslogd over UDP and TCP, a real systemd-journald.
Usage: syslog_test.py PODFENCE [-v]
"""
import json
import os
import signal
import socket
import subprocess
import sys
import unittest

from node import Node, inside, policy, run

PODFENCE = None
RSYSLOG = """
module(load="imudp")
module(load="imtcp")
input(type="imudp" address="127.0.0.1" port="514")
input(type="imtcp" address="127.0.0.1" port="601")
template(name="fields" type="string" string="%pri%|%hostname%|%app-name%|%msgid%|%msg%\\n")
action(type="omfile" file="{directory}/received" template="fields")
"""


class SyslogTest(unittest.TestCase):
    def setUp(self):
        self.node = Node(PODFENCE)
        self.addCleanup(self.node.close)
        self.web = self.node.add_pod("web", "shop", app="web")
        self.client = self.node.add_pod("client", "people", app="client")
        self.node.write_world()
        self.node.write("policies.json", policy("deny-all", "shop", policyTypes=["Ingress"]))

    def deny(self, port):
        with inside(self.client.netns):
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.sendto(b"?", (self.web.v4, port))
        s.close()

    def rsyslogd(self):
        config = os.path.join(self.node.directory, "rsyslog.conf")
        with open(config, "w", encoding="utf-8") as out:
            out.write(RSYSLOG.format(directory=self.node.directory))
        daemon = subprocess.Popen(["ip", "netns", "exec", self.node.netns, "rsyslogd", "-n", "-f", config, "-i",
                                   os.path.join(self.node.directory, "rsyslog.pid")],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(daemon.wait)
        self.addCleanup(daemon.kill)
        self.node.until(lambda: "127.0.0.1:601" in self.node.exec("ss", "-ltnH").stdout, "rsyslogd listens")
        return daemon

    def received(self):
        path = os.path.join(self.node.directory, "received")
        if not os.path.exists(path):
            return []
        with open(path, encoding="utf-8") as file:
            return [line.rstrip("\n").split("|", 4) for line in file]

    def ids(self):
        return [json.loads(line[4])["id"] for line in self.received()]

    def logged(self):
        with open(self.node.flow_log, encoding="utf-8") as log:
            return [json.loads(line)["id"] for line in log]

    def test_udp(self):
        self.rsyslogd()
        self.node.start_agent("--syslog", "udp://127.0.0.1")
        self.deny(8000)
        self.node.until(lambda: [line for line in self.received() if line[3] == "flow"], "a flow arrives", 20)
        pri, host, app, msgid, text = [line for line in self.received() if line[3] == "flow"][0]
        self.assertEqual((pri, host, app, msgid), ("132", "node-a", "podfence", "flow"))
        record = json.loads(text)
        self.assertEqual((record["schema"], record["destination"]["port"]), ("podfence.flow/v1", 8000))

    def test_tcp_loses_nothing_while_the_receiver_is_away(self):
        self.node.start_agent("--syslog", "tcp://127.0.0.1")
        self.deny(8000)
        self.node.until(lambda: self.node.records() and self.node.status()["sinks"][0]["retries"], "records wait", 20)
        daemon = self.rsyslogd()
        self.node.until(lambda: set(self.logged()) <= set(self.ids()), "all arrives", 30)
        daemon.kill()
        daemon.wait()
        self.deny(8001)
        self.node.until(lambda: len(self.node.records()) == 2, "another record", 20)
        self.node.end_agent(signal.SIGKILL)
        self.rsyslogd()
        self.node.start_agent("--syslog", "tcp://127.0.0.1")
        self.node.until(lambda: set(self.logged()) <= set(self.ids()), "all arrives, after a kill too", 30)
        self.assertEqual(self.node.status()["sinks"][0]["dropped"], 0)

    def test_journal(self):
        """In a mount namespace of its own, where the journal and the agent meet."""
        # Not ip netns exec: it mounts another /sys, without the control groups that the journal asks for.
        box = subprocess.Popen(["nsenter", f"--net=/run/netns/{self.node.netns}", "unshare", "-m", "sh", "-c",
                                "mount -t tmpfs none /run/systemd && mkdir -p /run/systemd/journal && "
                                "mount -t tmpfs none /run/log && exec sleep 1000"])
        self.addCleanup(box.wait)
        self.addCleanup(box.kill)
        within = ["nsenter", "-t", str(box.pid), "-m", "-n"]
        self.node.until(lambda: run(*within, "mountpoint", "-q", "/run/log", check=False).returncode == 0,
                        "the journal's places are there")
        daemon = subprocess.Popen([*within, "/lib/systemd/systemd-journald"], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
        self.addCleanup(daemon.wait)
        self.addCleanup(daemon.kill)
        self.node.until(lambda: run(*within, "test", "-S", "/run/systemd/journal/socket", check=False).returncode == 0,
                        "the journal listens")
        with open(os.path.join(self.node.directory, "agent.log"), "a", encoding="utf-8") as log:
            self.node.agent = subprocess.Popen(
                [*within, PODFENCE, "agent", "--source", f"dir:{self.node.objects}", "--node", "node-a", "--socket",
                 self.node.socket, "--state-dir", self.node.state, "--flow-log", self.node.flow_log, "--journald"],
                stdout=log, stderr=log)
        self.node.until(lambda: self.node.status().get("enforcing_since"), "the agent enforces")
        self.deny(8000)

        def entries():
            answer = run(*within, "journalctl", "--directory=/run/log/journal", "-o", "json", "-t", "podfence-flows",
                         "PODFENCE_TYPE=flow", check=False)
            return [json.loads(line) for line in answer.stdout.splitlines() if line.startswith("{")]

        self.node.until(entries, "an entry", 20)
        entry = entries()[0]
        self.assertEqual((entry["PRIORITY"], entry["PODFENCE_REASON"], entry["PODFENCE_DESTINATION_POD"]),
                         ("4", "default_deny", "web"))
        self.assertEqual(json.loads(entry["PODFENCE_RECORD"])["destination"]["port"], 8000)
        self.assertIn("people/client", entry["MESSAGE"])


if __name__ == "__main__":
    PODFENCE = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
