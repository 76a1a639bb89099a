#!/usr/bin/env python3
"""The agent's side of podfence-cni, spoken over its socket: real sandboxes, real packets. Usage: cni_test.py PODFENCE

Rows: A9 A10 C3 D3 D6 D7 G3 G4 S1 P19; D-11 D-13 R-01 R-03 R-06 X-03.
"""
import base64
import json
import os
import random
import signal
import socket
import sys
import threading
import time
import unittest

from cni_node import PORT, CniNode, Sandbox
from node import inside, namespace, node_object, policy

PODFENCE = None


class CniTest(unittest.TestCase):
    def setUp(self):
        self.node = CniNode(PODFENCE)
        self.addCleanup(self.node.close)
        self.client = self.node.add_pod("client", "people", app="client")
        self.other = self.node.add_pod("other", "people", app="other")
        self.results = os.path.join(self.node.directory, "results")
        os.mkdir(self.results)
        self.boxes, self.sockets = 0, []
        self.from_client, self.from_other = (self.open_udp(pod.netns) for pod in (self.client, self.other))
        self.write_world()

    def tearDown(self):
        for s in self.sockets:
            s.close()

    def open_udp(self, netns):
        self.sockets.append(self.node.udp(netns))
        return self.sockets[-1]

    def write_world(self, *pods, policies=()):
        """Every address of a sandbox lies beside the node's range, unless a test says otherwise."""
        self.node.write("world.json", node_object(), namespace("shop", team="shop"),
                        namespace("people", team="people"), self.client.manifest(), self.other.manifest(), *pods,
                        *policies)

    def start(self, *more):
        self.node.start_agent("--cni-results", self.results, *more)

    def box(self, pod, v4=None):
        self.boxes += 1
        box = Sandbox(self.node, self.boxes, v4 or f"10.7.0.{self.boxes + 1}", pod)
        self.sockets.append(box.udp)
        return box

    def plug(self, box, known=None):
        answer = self.node.ask(box.request())
        self.assertTrue(answer.get("ok"), answer)
        if known is not None:
            self.assertEqual(answer["pod_known"], known)
        return answer

    def gets(self, source, box, text=b"hello"):
        """Whether one datagram arrives; what was queued before is passed over."""
        source.sendto(text, (box.v4, PORT))
        try:
            while box.udp.recvfrom(100)[0] != text:
                pass
            return True
        except TimeoutError:
            return False

    def talk(self, source, box):
        """Both say something: only then conntrack calls the flow established."""
        source.sendto(b"ping", (box.v4, PORT))
        try:
            text, peer = box.udp.recvfrom(100)
            box.udp.sendto(b"pong", peer)
            return text == b"ping" and source.recv(100) == b"pong"
        except TimeoutError:
            return False

    def sends(self, box, pod, sink):
        box.udp.sendto(b"out", (pod.v4, sink.getsockname()[1]))
        try:
            return sink.recv(100) == b"out"
        except TimeoutError:
            return False

    def only_client(self):
        peer = {"podSelector": {"matchLabels": {"app": "client"}},
                "namespaceSelector": {"matchLabels": {"team": "people"}}}
        return policy("only-client", "shop", {"app": "web"}, ingress=[{"from": [peer]}])

    def open_to_all(self):
        """Isolates and admits: such flows get the label that lets them pass as established."""
        return policy("open-to-all", "shop", {"app": "open"}, ingress=[{}])

    def attached(self):
        return {a["container_id"] for a in self.node.status()["attachments"]}

    def test_a_pod_is_closed_until_its_object_is_known(self):
        out = policy("out", "people", {"app": "client"}, egress=[{}])
        self.write_world(policies=[out])
        self.start()
        web = self.box("web")
        self.assertTrue(self.talk(self.from_client, web), "nobody closed it before it was plugged in")
        self.plug(web, known=False)
        self.assertFalse(self.gets(self.from_client, web, b"in"), "and an established flow neither")
        self.assertFalse(self.sends(web, self.client, self.from_client))
        with inside(self.node.netns):
            probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sockets.append(probe)
        self.assertTrue(self.gets(probe, web, b"probe"), "the node reaches its pods")
        explained = self.node.podfence("explain", "people/client", f"{web.v4}:{PORT}/UDP", "--socket", self.node.socket)
        self.assertEqual(explained.returncode, 2, explained.stdout)
        self.write_world(web.manifest({"app": "web"}), policies=[self.only_client(), out])
        self.node.until(lambda: self.gets(self.from_client, web), "its policies open it")
        self.assertFalse(self.gets(self.from_other, web, b"from another"))
        self.assertTrue(self.sends(web, self.client, self.from_client))
        listed = self.node.status()["attachments"]
        self.assertEqual([(a["pod"], a["pod_known"]) for a in listed], [("web", True)])

    def test_a_known_pods_rules_are_in_the_kernel_when_add_returns(self):
        boxes = [self.box(f"web{i}") for i in range(5)]
        self.write_world(*[b.manifest({"app": "web"}) for b in boxes], policies=[self.only_client()])
        self.start()
        for box in boxes:
            self.plug(box, known=True)
            for name in ("known4", "in_isolated4", "managed4"):
                self.assertTrue(self.node.set_has(name, box.v4), name)
            self.assertFalse(self.gets(self.from_other, box, b"no"))
            self.assertTrue(self.gets(self.from_client, box, b"yes"))
            self.assertEqual(self.node.ask(box.request("cni.check")), {"ok": True})

    def forge(self, box, source, text):
        """Says something to the client's port from an address that the sandbox was not given."""
        self.node.ip(box.netns, f"addr replace {source}/32 dev eth0")
        with inside(box.netns):
            sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.bind((source, 0))
        sender.sendto(text, (self.client.v4, self.from_client.getsockname()[1]))
        sender.close()

    def test_nothing_forged_leaves_a_pod_when_add_has_returned(self):  # N-08, R-01
        self.start()
        boxes = [self.box(f"web-{i}") for i in range(3)]
        self.write_world(*[box.manifest({"app": "web"}, [box.v4, box.v6]) for box in boxes])
        self.forge(boxes[0], "10.9.9.9", b"before")
        self.assertEqual(self.from_client.recv(100), b"before", "without the plugin it arrives")
        for box in boxes:  # each at once, the clock of the agent apart
            self.plug(box)
            self.forge(box, "10.9.9.9", b"after")
        with self.assertRaises(TimeoutError):
            self.from_client.recv(100)
        spoofed = self.node.exec("nft", "list", "counter", "netdev", "podfence", "spoofed").stdout
        self.assertGreaterEqual(int(spoofed.split("packets ")[1].split()[0]), 3)  # and their ARP, as the kernel likes
        self.assertEqual(self.node.status()["unguarded"], [])
        for box in boxes:
            # Its kernel asks for the gateway in the forged name first, in vain, and gives that up after three seconds.
            self.node.until(lambda box=box: self.sends(box, self.client, self.from_client), "its own address passes")
            self.assertTrue(self.node.ask(box.key()).get("ok"))

    def test_twenty_at_once_and_the_same_again(self):  # A9, P19
        boxes = [self.box(f"pod{i}") for i in range(20)]
        self.write_world(*[b.manifest({"app": "web"}) for b in boxes[::2]], policies=[self.only_client()])
        self.start()
        for _ in range(2):
            answers, began = [], time.monotonic()
            threads = [threading.Thread(target=lambda b=b: answers.append(self.node.ask(b.request()))) for b in boxes]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            print(f"  20 at once: {(time.monotonic() - began) * 1000:.1f} ms", file=sys.stderr)
            self.assertTrue(all(a.get("ok") for a in answers), answers)
            self.assertEqual(sum(a["pod_known"] for a in answers), 10)
        self.assertEqual(len(self.attached()), 20)
        times = []
        for box in boxes:
            began = time.monotonic()
            self.assertEqual(self.node.ask(box.key()), {"ok": True})
            times.append(time.monotonic() - began)
        print(f"  DEL: median {sorted(times)[10] * 1000:.2f} ms", file=sys.stderr)
        times = []
        for box in boxes:
            began = time.monotonic()
            self.plug(box)
            times.append(time.monotonic() - began)
        print(f"  ADD: median {sorted(times)[10] * 1000:.2f} ms, worst {max(times) * 1000:.2f} ms", file=sys.stderr)

    def test_an_address_goes_to_the_next_pod_with_nothing_of_the_first(self):  # D-11, D-13, X-03
        policies = [self.only_client(), self.open_to_all()]
        for within, order in ((False, "del first"), (True, "del first"), (False, "del last"), (True, "del last")):
            with self.subTest(within=within, order=order):
                address = "10.1.0.77" if within else "10.7.0.77"
                first = self.box("first", address)
                self.write_world(first.manifest({"app": "open"}), policies=policies)
                if not self.node.agent:
                    self.start()
                self.plug(first)
                self.node.until(lambda: self.talk(self.from_other, first), "open")  # a flow with the label
                self.write_world(first.manifest({"app": "open"}, [address]), policies=policies)
                first.unplug()
                if order == "del first":
                    self.assertEqual(self.node.ask(first.key()), {"ok": True})
                    self.assertEqual(self.node.ask(first.key()), {"ok": True}, "again")
                    self.assertFalse(self.node.set_has("known4", address), "whatever the object's status says")
                second = self.box("second", address)
                self.write_world(first.manifest({"app": "open"}, [address]), second.manifest({"app": "web"}),
                                 policies=policies)
                self.plug(second)
                self.assertFalse(self.gets(self.from_other, second, b"the first one's flow"))
                self.node.until(lambda: self.gets(self.from_client, second), "its own policy opens it")
                if order == "del last":
                    self.assertEqual(self.node.ask(first.key()), {"ok": True})
                self.assertTrue(self.node.set_has("in_isolated4", address))
                self.assertFalse(self.gets(self.from_other, second, b"later"))
                self.assertTrue(self.gets(self.from_client, second, b"and open"))
                second.unplug()
                self.node.ask(second.key())

    def test_a_pods_next_sandbox_keeps_its_rules_when_the_first_one_goes(self):  # A10
        old = self.box("web")
        self.write_world(old.manifest({"app": "web"}, [old.v4]), policies=[self.only_client()])
        self.start()
        self.plug(old, known=True)
        new = self.box("web")
        self.plug(new, known=True)
        self.assertEqual(self.node.ask(old.key()), {"ok": True})
        self.assertTrue(self.gets(self.from_client, new))
        self.assertFalse(self.gets(self.from_other, new, b"no"))
        self.assertFalse(self.node.set_has("known4", old.v4))

    def test_the_journal_is_replayed(self):  # D7
        self.start()
        gone, later, closed = self.box("gone"), self.box("later"), self.box("closed")
        self.plug(gone), self.plug(later)
        self.node.end_agent(signal.SIGKILL)
        journal = os.path.join(self.node.state, "cni-journal")
        os.mkdir(journal, 0o700)

        def write(box, request):
            with open(os.path.join(journal, ".tmp-1"), "w", encoding="utf-8") as out:
                out.write(json.dumps(request))
            os.rename(os.path.join(journal, ".tmp-1"), os.path.join(journal, f"{box.id}@eth0"))
        write(gone, gone.key())
        write(closed, closed.request())  # plugged in closed, for there was no agent
        self.node.exec("nft", f"add table netdev podfence_deny; add chain netdev podfence_deny in-{closed.veth} "
                       f"{{ type filter hook ingress device {closed.veth} priority -500; policy drop; }}; "
                       f"add chain netdev podfence_deny out-{closed.veth} "
                       f"{{ type filter hook egress device {closed.veth} priority -500; policy drop; }}")
        self.write_world(closed.manifest({"app": "other"}))
        self.start()
        self.assertEqual(self.attached(), {later.id, closed.id})
        self.node.until(lambda: not os.listdir(journal), "the journal is empty")
        self.assertTrue(self.gets(self.from_client, closed), "the agent has taken it over")
        self.assertTrue(self.node.set_has("managed4", later.v4))
        self.assertFalse(self.node.set_has("managed4", gone.v4))
        write(later, later.key())
        self.node.until(lambda: not self.attached() & {later.id}, "and while it runs")
        self.assertEqual(os.listdir(journal), [])

    def test_a_restart_keeps_the_sandboxes_and_forgets_those_that_are_gone(self):
        self.start()
        stays, goes = self.box("stays"), self.box("goes")
        self.plug(stays), self.plug(goes)
        for how in (signal.SIGTERM, signal.SIGKILL):
            self.node.end_agent(how)
            self.assertFalse(self.gets(self.from_client, stays, b"down"))
            self.start()
            self.assertEqual(self.node.status()["commits"]["last_operations"], 0)
            self.assertFalse(self.gets(self.from_client, stays, b"up"))
        self.node.end_agent()
        goes.unplug()
        attachments = os.path.join(self.node.state, "attachments")
        with open(os.path.join(attachments, "broken@eth0.json"), "w", encoding="utf-8") as out:
            out.write("{")
        self.start()
        self.assertEqual(self.attached(), {stays.id})
        self.assertIn("broken@eth0", self.node.status()["attachment_problems"][0])
        self.assertFalse(os.path.exists(os.path.join(attachments, f"{goes.id}@eth0.json")))
        self.write_world(stays.manifest({"app": "other"}))
        self.node.until(lambda: self.gets(self.from_client, stays), "its object opens it")

    def test_finds_what_was_plugged_in_while_it_was_away(self):
        ours, others, gone = self.box("ours"), self.box("others"), self.box("gone")
        for box, plugin in ((ours, "podfence-cni"), (others, "firewall"), (gone, "podfence-cni")):
            chain = {"cniVersion": "1.0.0", "name": "kbr", "plugins": [{"type": "ptp"}, {"type": plugin}]}
            cached = {"kind": "cniCacheV1", "containerId": box.id, "ifName": "eth0", "networkName": "kbr",
                      "netns": f"/run/netns/{box.netns}", "config": base64.b64encode(json.dumps(chain).encode()).decode(),
                      "cniArgs": [["K8S_POD_NAMESPACE", "shop"], ["K8S_POD_NAME", box.pod], ["IgnoreUnknown", "1"]],
                      "result": {"cniVersion": "1.0.0", "ips": [{"address": box.v4 + "/32", "interface": 1}],
                                 "interfaces": [{"name": box.veth}, {"name": "eth0", "sandbox": f"/run/{box.netns}"}]}}
            with open(os.path.join(self.results, f"kbr-{box.id}-eth0"), "w", encoding="utf-8") as out:
                json.dump(cached, out)
        gone.unplug()
        self.start()
        self.assertEqual(self.attached(), {ours.id})
        self.assertFalse(self.gets(self.from_client, ours))
        self.assertTrue(self.gets(self.from_client, others), "not in our hands")
        unmanaged = {u["pod"]: u["why"] for u in self.node.status()["unmanaged"]}
        self.assertEqual(set(unmanaged), {"client", "other"})
        self.assertIn("was not in the chain", unmanaged["client"])
        self.assertIn("people/client", self.node.podfence("status", "--socket", self.node.socket).stdout)

    def test_check_gc_status_and_what_is_none(self):  # C3, G3, G4, S1
        self.start()
        status = self.node.status()
        self.assertEqual((status["attachments"], status["unmanaged"]), ([], []))
        self.assertEqual(self.node.ask({"command": "cni.status"}), {"ok": True})
        boxes = [self.box(f"pod{i}") for i in range(3)]
        for box in boxes:
            self.plug(box)
            self.assertEqual(self.node.ask(box.request("cni.check")), {"ok": True})
        one = boxes[0]
        for wrong in ({"addresses": ["10.9.9.9"]}, {"container_id": "nobody"}, {"host_ifindex": one.index + 1000},
                      {"host_interface": "nothere"}):
            self.assertIn("error", self.node.ask(one.request("cni.check", **wrong)), wrong)
        gc = {"command": "cni.gc", "network": "other", "valid": []}
        self.assertEqual(self.node.ask(gc), {"ok": True, "removed": 0})
        valid = [{"container_id": one.id, "ifname": "eth0"}]
        self.assertIn("error", self.node.ask({"command": "cni.gc", "network": "kbr"}))
        self.assertEqual(self.node.ask({**gc, "network": "kbr", "valid": valid}), {"ok": True, "removed": 2})
        self.assertEqual(self.attached(), {one.id})
        for wrong in (b"\n", b"{}\n", b"[" * 30000 + b"\n", b'{"command":"cni.add"}\n', b"x" * 70000,
                      json.dumps(one.request(container_id="../../x")).encode() + b"\n",
                      json.dumps(one.request(ifname="a/b")).encode() + b"\n",
                      json.dumps(one.request(addresses=[1])).encode() + b"\n",
                      json.dumps(one.request(addresses=["10.7.0.1/24"])).encode() + b"\n",
                      json.dumps(one.request(host_ifindex=-1)).encode() + b"\n"):
            self.assertIn("error", self.node.ask(wrong), wrong[:80])
        self.assertEqual(self.node.ask({"command": "cni.del", "network": "", "container_id": "../x", "ifname": "e"}),
                         {"ok": True}, "it cannot be there")
        self.assertEqual(self.node.ask({**gc, "network": "kbr"}), {"ok": True, "removed": 1})
        self.assertEqual(self.attached(), set())
        self.assertFalse(self.node.set_has("managed4", one.v4))

    def test_an_agent_that_was_killed_before_it_answered_leaves_no_flow(self):
        self.write_world(policies=[policy("out", "people", {"app": "client"}, egress=[{}])])
        self.start()
        box = self.box("web")
        self.plug(box)
        recorded = os.path.join(self.node.state, "attachments", f"{box.id}@eth0.json")
        with open(recorded, encoding="utf-8") as file:
            record = file.read()
        self.node.ask(box.key())
        self.node.until(lambda: self.talk(self.from_client, box), "a flow with the label, from before ADD")
        self.node.end_agent(signal.SIGKILL)
        with open(recorded, "w", encoding="utf-8") as file:
            file.write(record)  # it came as far as that
        self.node.launch("--cni-results", self.results)
        self.assertTrue(self.node.ask_until(box.request())["ok"], "the plugin asks again")
        self.assertFalse(self.gets(self.from_client, box, b"in"))
        self.assertFalse(self.sends(box, self.client, self.from_client))

    def test_acknowledged_pods_are_as_policy_says_while_the_agent_is_killed(self):
        seed = int(os.environ.get("PODFENCE_SEED", time.time_ns() % 2**32))
        print(f"  PODFENCE_SEED={seed}", file=sys.stderr)
        chance = random.Random(seed)
        names = [f"pod{i}" for i in range(50)]
        kinds = {name: chance.choice(("unknown", "web", "open")) for name in names}
        manifest = lambda name: Sandbox.manifest(type("P", (), {"pod": name}), {"app": kinds[name]})
        self.write_world(*[manifest(n) for n in names if kinds[n] != "unknown"], policies=[self.only_client()])
        stop, kills = threading.Event(), []

        def kill_at_random():
            while not stop.is_set():
                self.node.launch("--cni-results", self.results)
                stop.wait(chance.uniform(0.02, 1.2))
                if not stop.is_set():
                    self.node.agent.send_signal(signal.SIGKILL)
                    self.node.agent.wait()
                    kills.append(time.monotonic())

        def as_policy_says(box, text):
            expected = {"unknown": (False, False), "web": (True, False), "open": (True, True)}[kinds[box.pod]]
            found = (self.gets(self.from_client, box, text + b"client"), self.gets(self.from_other, box, text + b"other"))
            self.assertEqual(found, expected, f"{box.pod} ({kinds[box.pod]}), PODFENCE_SEED={seed}")
            if kinds[box.pod] == "unknown":
                self.assertFalse(self.sends(box, self.client, self.from_client))
        killer = threading.Thread(target=kill_at_random)
        killer.start()
        try:
            boxes = []
            for name in names:
                box = self.box(name)
                answer = self.node.ask_until(box.request())
                while not answer.get("ok"):
                    self.assertEqual(answer.get("code"), 11, answer)
                    answer = self.node.ask_until(box.request())
                box.udp.settimeout(0.1)
                as_policy_says(box, b"at once ")
                boxes.append(box)
            for box in boxes:
                as_policy_says(box, b"later ")
        finally:
            stop.set()
            killer.join()
        print(f"  50 pods plugged in over {len(kills)} kills", file=sys.stderr)
        self.assertGreater(len(kills), 3)
        self.node.until(lambda: self.node.status().get("enforcing_since"), "the last agent enforces")
        self.assertEqual(self.attached(), {box.id for box in boxes})


if __name__ == "__main__":
    PODFENCE = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
