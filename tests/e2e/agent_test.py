#!/usr/bin/env python3
"""The agent as an operator meets it: a real process, real nftables, real packets. Usage: agent_test.py PODFENCE [-v]

Conformance rows: D-01 D-02 D-03 D-05 D-06 D-07 D-12 D-19 D-20 D-22 D-24 I-02 I-03 I-15 N-01 N-02 R-06 R-07 R-08 R-09
N-08 R-11 R-12 R-13 R-15 V-11 X-01 X-02.
"""
import json
import os
import signal
import socket
import sys
import time
import unittest

from node import OUTSIDE_V4, OUTSIDE_V6, Node, Pod, inside, namespace, policy

PODFENCE = None


class AgentTest(unittest.TestCase):
    def setUp(self):
        self.node = Node(PODFENCE)
        self.addCleanup(self.node.close)
        self.web = self.node.add_pod("web", "shop", app="web")
        self.db = self.node.add_pod("db", "shop", app="db")
        self.client = self.node.add_pod("client", "people", app="client")
        self.node.write_world()
        self.servers = [self.node.listen(pod, 8080) for pod in (self.web, self.db)]
        self.servers.append(self.node.listen(self.web, 8080, socket.AF_INET6))

    def tearDown(self):
        for server in self.servers:
            server.close()

    def reach(self, pod, other, timeout=0.4):
        return self.node.reaches(pod.netns, other.v4, 8080, timeout)

    def wait_for(self, pod, other, allowed, seconds=5):
        """The verdict becomes so; returns how long it took."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            if self.reach(pod, other, 0.2) == allowed:
                return time.monotonic() - began
        self.fail(f"{pod.name} -> {other.name} is not {'allowed' if allowed else 'denied'} within {seconds} s\n"
                  + self.node.agent_log())

    def deny_all(self):
        return policy("deny-all", "shop", policyTypes=["Ingress"])

    def allow_web(self):
        peer = {"namespaceSelector": {"matchLabels": {"team": "people"}}}
        return policy("allow-web", "shop", {"app": "web"}, ingress=[{"from": [peer], "ports": [{"port": "http"}]}])

    def test_policies_come_change_and_go(self):  # D-01, D-02, D-03, I-02, N-01
        self.node.start_agent()
        self.assertTrue(self.reach(self.client, self.web))
        self.node.write("policies.json", self.deny_all())
        print(f"  deny in force after {self.wait_for(self.client, self.web, False):.3f} s", file=sys.stderr)
        self.assertTrue(self.node.reaches(self.node.netns, self.web.v4, 8080), "the node reaches its pods")
        self.node.write("policies.json", self.deny_all(), self.allow_web())
        print(f"  allow in force after {self.wait_for(self.client, self.web, True):.3f} s", file=sys.stderr)
        self.assertFalse(self.reach(self.client, self.db))
        self.assertFalse(self.reach(self.db, self.web))
        os.remove(os.path.join(self.node.objects, "policies.json"))
        self.wait_for(self.client, self.db, True)

    def test_labels_of_pods_decide(self):  # D-05, D-06, D-07
        only_db = {"podSelector": {"matchLabels": {"app": "db"}}}
        self.node.write("policies.json", policy("web", "shop", {"app": "web"}, ingress=[{"from": [only_db]}]))
        self.node.start_agent()
        self.assertTrue(self.reach(self.db, self.web))
        self.db.labels = {"app": "other"}
        self.node.write_world()
        self.wait_for(self.db, self.web, False)
        self.web.labels = {"app": "other"}
        self.node.write_world()
        self.wait_for(self.db, self.web, True)

    def test_a_completed_pod_is_closed_and_no_peer(self):  # D-12
        self.node.start_agent()
        self.assertTrue(self.reach(self.client, self.web))
        self.client.phase = "Succeeded"
        self.node.write_world()
        self.wait_for(self.client, self.web, False)

    def test_an_invalid_file_keeps_its_last_good_content(self):  # V-11, D-20
        self.node.write("policies.json", self.deny_all())
        self.node.start_agent()
        self.assertFalse(self.reach(self.client, self.web))
        with open(os.path.join(self.node.objects, "policies.json"), "w", encoding="utf-8") as out:
            out.write('{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {')
        self.node.until(lambda: self.node.status().get("state") == "degraded", "status shows the broken file")
        problem = self.node.status()["files"][0]
        self.assertIn("policies.json", problem["file"])
        self.assertTrue(problem["last_good_content"])
        self.assertFalse(self.reach(self.client, self.web), "the last good content is enforced")
        self.node.end_agent(signal.SIGKILL)
        self.node.exec("nft", "delete", "table", "inet", "podfence")  # as after a reboot
        self.node.start_agent()
        self.assertTrue(self.node.status()["files"][0]["last_good_content"])
        self.assertFalse(self.reach(self.client, self.web), "also after a restart")
        self.node.write("other.json", self.allow_web())
        self.wait_for(self.client, self.web, True)  # the broken file blocks no other
        self.node.write("policies.json", self.deny_all())
        self.node.until(lambda: self.node.status().get("state") == "enforcing", "the mended file is taken")

    def test_files_that_change_are_not_waited_for_busily(self):
        self.node.start_agent()

        def seconds_run():
            with open(f"/proc/{self.node.agent.pid}/schedstat", encoding="ascii") as file:
                return int(file.read().split()[0]) / 1e9
        before = seconds_run()
        for number in range(50):
            with open(os.path.join(self.node.objects, "notes.txt"), "w", encoding="ascii") as out:
                out.write(str(number))
            time.sleep(0.03)
        took = seconds_run() - before
        self.assertLess(took, 0.1, "the pause after a change is 10 ms")

    def test_rules_stay_while_the_agent_is_down(self):  # D-19, D-24
        self.node.write("policies.json", self.deny_all(), self.allow_web())
        self.node.start_agent()
        live = self.node.connect(self.client.netns, self.web.v4, 8080)
        self.assertIsNotNone(live)
        peer, _ = self.servers[0].accept()
        for how in (signal.SIGTERM, signal.SIGKILL):
            code = self.node.end_agent(how)
            self.assertEqual(code, 0 if how == signal.SIGTERM else -signal.SIGKILL)
            self.assertFalse(self.reach(self.client, self.db), f"closed after {how.name}")
            self.assertTrue(self.reach(self.client, self.web), f"open after {how.name}")
            self.node.start_agent()
            self.assertEqual(self.node.status()["commits"]["last_operations"], 0, "an unchanged world writes nothing")
        live.sendall(b"still here")
        self.assertEqual(peer.recv(100), b"still here")
        self.node.end_agent(signal.SIGKILL)
        self.node.write("policies.json", self.deny_all())
        self.node.start_agent()
        self.assertFalse(self.reach(self.client, self.web), "a policy that went while the agent was down")
        live.close(), peer.close()

    def test_a_foreign_change_is_repaired(self):
        self.node.exec("nft", "add table ip neighbour; add chain ip neighbour c; add rule ip neighbour c counter")
        before = self.node.exec("nft", "list", "table", "ip", "neighbour").stdout
        self.node.write("policies.json", self.deny_all())
        self.node.start_agent()
        self.assertEqual(self.node.exec("nft", "list", "table", "ip", "neighbour").stdout, before)
        self.node.exec("nft", "delete", "table", "inet", "podfence", check=False)
        self.node.exec("nft", "flush", "chain", "inet", "podfence", "forward", check=False)
        self.node.exec("nft", "flush", "set", "inet", "podfence", "in_isolated4", check=False)
        self.node.exec("nft", "flush", "ruleset", check=False)
        print(f"  closed again after {self.wait_for(self.client, self.web, False, 2):.3f} s", file=sys.stderr)
        self.node.until(lambda: self.node.records("detection"), "a detection is written", 12)
        tampered = self.node.records("detection")[0]
        self.assertEqual((tampered["detection"], tampered["severity"]), ("agent_tamper", "critical"))
        self.assertIn("nft", tampered["by"])

    def test_established_flows_that_a_new_policy_forbids_are_cut(self):
        self.node.write("policies.json", self.allow_web(),
                        policy("db", "shop", {"app": "db"}, ingress=[{}]))
        self.node.start_agent()
        cut = self.node.connect(self.client.netns, self.web.v4, 8080)
        kept = self.node.connect(self.client.netns, self.db.v4, 8080)
        ends = [self.servers[0].accept()[0], self.servers[1].accept()[0]]
        self.node.write("policies.json", self.deny_all(), policy("db", "shop", {"app": "db"}, ingress=[{}]))
        self.wait_for(self.client, self.web, False)
        time.sleep(0.5)
        cut.sendall(b"x"), kept.sendall(b"y")
        self.assertEqual(ends[1].recv(10), b"y", "an allowed flow is not touched")
        ends[0].settimeout(1)
        with self.assertRaises(TimeoutError, msg="a forbidden flow is cut"):
            ends[0].recv(10)
        self.assertGreaterEqual(self.node.status()["established"]["revoked"], 1)
        for s in (cut, kept, *ends):
            s.close()

    def test_denied_flows_name_their_policies(self):  # I-15
        self.node.write("policies.json", self.deny_all())
        self.node.start_agent()
        time.sleep(0.2)  # in the first instant no policy may be named
        self.assertFalse(self.reach(self.client, self.web))
        self.node.until(lambda: self.node.records(), "a record is written", 12)
        record = self.node.records()[0]
        self.assertEqual(record["schema"], "podfence.flow/v1")
        self.assertEqual([p["name"] for p in record.get("policies", [])], ["deny-all"], record)
        self.assertEqual(record["source"]["k8s"]["pod"], "client")
        self.assertEqual(record["destination"]["k8s"]["pod"], "web")
        self.assertEqual((record["verdict"], record["direction"]), ("deny", "ingress"))
        listed = self.node.podfence("flows", "--file", self.node.flow_log)
        self.assertIn("deny-all", listed.stdout)

    def test_a_record_names_a_peer_that_changed_nothing_in_the_kernel(self):
        self.node.write("policies.json", self.deny_all())
        self.node.start_agent()
        commits = self.node.status()["commits"]["count"]
        far = Pod("far", "abroad", 0, {"app": "far"})
        far.v4, far.v6 = OUTSIDE_V4, OUTSIDE_V6
        self.node.write("abroad.json", namespace("abroad"), far.manifest("node-b"))
        self.node.until(lambda: self.node.podfence("explain", "abroad/far", "shop/web:8080", "--socket",
                                                   self.node.socket).returncode == 2, "the agent knows the pod")
        time.sleep(0.1)  # what the two clocks may differ by
        self.assertFalse(self.node.reaches(self.node.outside, self.web.v4, 8080))
        self.node.until(lambda: self.node.records(), "a record is written", 12)
        self.assertEqual(self.node.records()[0]["source"]["k8s"]["pod"], "far")
        self.assertEqual(self.node.status()["commits"]["count"], commits)

    def test_a_port_scan_and_a_grab_for_credentials_are_detected(self):
        self.node.ip(self.node.netns, "route add 169.254.169.254/32 via 192.0.2.7")
        self.node.write("policies.json", self.deny_all(), policy("none", "people", policyTypes=["Egress"], egress=[]))
        self.node.start_agent()
        with inside(self.client.netns):
            scanner = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for port in range(1000, 1025):
            scanner.sendto(b"?", (self.web.v4, port))
        scanner.sendto(b"?", ("169.254.169.254", 80))
        scanner.close()
        self.node.until(lambda: len(self.node.records("detection")) >= 2, "detections are written", 12)
        found = {record["detection"]: record for record in self.node.records("detection")}
        self.assertEqual(set(found), {"port_scan", "metadata_access"})
        self.assertGreaterEqual(found["port_scan"]["evidence"]["distinct_ports"], 20)
        self.assertEqual(found["port_scan"]["source"]["k8s"]["pod"], "client")
        ids = {record["id"] for record in self.node.records()}
        for record in found.values():
            self.assertTrue(set(record["sample_ids"]) <= ids, "the samples are records of the same log")

    def say_from(self, pod, address, other, text):
        """One UDP packet from an address that the pod was not given."""
        self.node.ip(pod.netns, f"addr replace {address}/32 dev eth0")
        with inside(pod.netns):
            sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.bind((address, 0))
        sender.sendto(text, (other.v4, 9000))
        sender.close()

    def test_a_foreign_source_address_does_not_leave_the_pod(self):  # N-08
        with inside(self.web.netns):
            ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        ear.bind(("0.0.0.0", 9000))
        ear.settimeout(0.5)
        self.node.start_agent("--no-source-guard", "--no-fail-closed")
        self.say_from(self.client, self.db.v4, self.web, b"forged")
        self.assertEqual(ear.recv(100), b"forged", "without the guard it arrives")
        self.node.end_agent()
        self.node.start_agent()
        self.node.until(lambda: self.node.exec("nft", "list", "table", "netdev", "podfence", check=False).returncode == 0,
                        "the guard is there")
        self.say_from(self.client, self.db.v4, self.web, b"forged again")
        self.say_from(self.client, "192.0.2.1", self.web, b"as the node")
        with self.assertRaises(TimeoutError):
            ear.recv(100)
        self.say_from(self.client, self.client.v4, self.web, b"honest")
        self.assertEqual(ear.recv(100), b"honest")
        self.assertTrue(self.reach(self.client, self.web) and self.node.reaches(self.client.netns, self.web.v6, 8080))
        self.node.until(lambda: [r for r in self.node.records() if r["reason"] == "spoofed_source"], "a record", 12)
        record = [r for r in self.node.records() if r["reason"] == "spoofed_source"][0]
        self.assertEqual(record["source"]["k8s"]["pod"], "client", "the pod is known by its interface")
        self.assertEqual(self.node.status()["unguarded"], [])
        ear.close()

    def test_records_and_losses_equal_the_counters_over_a_kill(self):
        self.node.write("policies.json", self.deny_all())
        self.node.start_agent()
        for _ in range(3):
            self.reach(self.client, self.web, 0.1)
        self.node.end_agent(signal.SIGKILL)
        for _ in range(3):
            self.reach(self.client, self.web, 0.1)  # nobody listens
        self.node.start_agent()
        self.reach(self.client, self.web, 0.1)

        def balance():
            denied = sum(n for name, n in self.node.counters().items() if name.startswith(("denied_", "unknown_", "spoofed")))
            told = sum(r["count"] for r in self.node.records()) + sum(r["lost"] for r in self.node.records("loss"))
            return denied, told
        time.sleep(1)
        self.node.until(lambda: len(set(balance())) == 1, "records + losses == counters", 20)
        self.assertGreaterEqual(balance()[0], 7)

    def test_commands_answer_with_their_exit_codes(self):
        self.node.write("policies.json", self.deny_all(), self.allow_web())
        self.node.start_agent()
        ask = lambda *a: self.node.podfence(*a)
        for source in (("--socket", self.node.socket), ("--objects", self.node.objects)):
            allowed = ask("explain", "people/client", "shop/web:8080", *source)
            self.assertEqual(allowed.returncode, 0, allowed.stdout)
            denied = ask("explain", "people/client", "shop/db:8080", *source)
            self.assertEqual(denied.returncode, 2, denied.stdout)
            self.assertIn("deny-all", denied.stdout)
        self.assertEqual(ask("simulate", "--objects", self.node.objects).returncode, 0)
        self.assertEqual(ask("check", self.node.objects).returncode, 0)
        self.assertEqual(ask("status", "--socket", self.node.socket).returncode, 0)
        for wrong in (("status", "--socket", "/nowhere/sock"), ("explain", "nobody/here", "shop/web:1", "--objects",
                      self.node.objects), ("agent", "--source", "ftp:x", "--node", "n"), ("simulate",), ("frobnicate",),
                      ("explain", "people/client", "shop/web:99999", "--objects", self.node.objects),
                      ("check", "/nowhere")):
            answer = ask(*wrong)
            self.assertEqual(answer.returncode, 1, f"{wrong}: {answer.stdout}")
            self.assertTrue(answer.stdout.strip(), wrong)
        again = ask("agent", "--source", f"dir:{self.node.objects}", "--node", "node-a", "--socket", self.node.socket,
                    "--state-dir", self.node.state)
        self.assertEqual(again.returncode, 1)
        self.assertIn("another agent", again.stdout)
        dry = ask("agent", "--source", f"dir:{self.node.objects}", "--node", "node-a", "--dry-run")
        self.assertIn("table inet podfence", dry.stdout)


if __name__ == "__main__":
    PODFENCE = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
