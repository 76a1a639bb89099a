#!/usr/bin/env python3
"""Pod sandboxes of Debian's containerd, with the chain and the agent as they are shipped:
sandbox_test.py --plugin PROGRAM --agent PROGRAM --probe PROGRAM

Rows: A1 A11 A12 D3 D4 D5 D7 P15 P16 P19; R-01 R-06.
"""
import concurrent.futures
import contextlib
import os
import signal
import socket
import time
import unittest

import case
from case import IMAGE, ONE_PEER, PORT, Runtime, both
from cri import CriError
from host import ALLOWED, ALLOWED6, NODE, OUTSIDE, OUTSIDE6, RANGE, RANGE6, inside, pod_object, policy
from wire import Wire


class Life(Runtime):
    def test_an_isolated_pod_from_its_first_packet_to_its_end(self):  # A1 D3 R-01
        self.host.write_world(pod_object("web", app="web"), ONE_PEER)
        self.host.start_agent()
        web, address = self.run_pod("web")
        self.assertTrue(self.host.set_has("known4", address))
        self.assertEqual(self.host.attached(), {web.id})
        self.assert_only_its_peer("web", address)
        self.cri.run_container(web, IMAGE, "main", "100", *both(OUTSIDE, ALLOWED))
        self.host.until(lambda: (ALLOWED, "udp", "main 1") in self.arrived(address), "a container in it talks too")
        self.assertEqual({destination for destination, _, _ in self.arrived(address)}, {ALLOWED})
        for _ in range(2):
            self.cri.stop_sandbox(web)
            self.assertEqual(self.host.attached(), set())
            self.assertFalse(self.host.set_has("known4", address))
            self.assertEqual(self.host.addresses_in_use(), set())
        self.cri.remove_sandbox(web)
        self.assertEqual(self.cri.sandboxes(), {})
        answers = [(line["command"], line["ok"]) for line in self.host.commands(web.id)]
        self.assertEqual(answers[0], ("ADD", True))
        self.assertGreaterEqual(answers.count(("DEL", True)), 3)
        self.assertEqual(len(set(answers)), 2, answers)

    def test_a_pod_without_an_object_is_closed_until_it_has_one(self):
        self.host.start_agent()
        address = self.run_pod("late")[1]
        time.sleep(0.5)
        self.assertEqual(self.arrived(address), [])
        self.host.write_world(pod_object("late", app="web"), ONE_PEER)
        self.host.until(lambda: self.arrived(address), "its object opens it")
        self.assertEqual({destination for destination, _, _ in self.arrived(address)}, {ALLOWED})

    def test_two_stacks(self):  # A12
        conflist = self.host.conflist("bridge", self.host.ours(), name="kdual", subnets=(RANGE, RANGE6))
        self.host.write_conflist(conflist, "05-kdual.conflist")
        self.host.write_world(pod_object("web", app="web"), ONE_PEER)
        self.host.start_agent()
        self.host.until(lambda: self.cri.network()[0] == "kdual", "loaded")
        web = self.cri.run_sandbox(self.sandbox("web"))
        v4, v6 = self.cri.addresses(web)
        self.cri.run_container(web, IMAGE, "six", "50", *both(OUTSIDE6, ALLOWED6))
        self.host.until(lambda: len(self.arrived(v6)) >= 4, "it talks to its peer")
        self.assertEqual({destination for destination, _, _ in self.arrived(v6)}, {ALLOWED6})
        self.assertEqual({destination for destination, _, _ in self.arrived(v4)}, {ALLOWED})
        self.assertTrue(self.host.set_has("known6", v6))
        self.cri.stop_sandbox(web)
        self.assertFalse(self.host.set_has("known6", v6))

    def test_two_pods_on_one_bridge(self):
        to_server = policy("to-server", {"app": "friend"}, policyTypes=["Egress"],
                           egress=[{"to": [{"podSelector": {"matchLabels": {"app": "server"}}}]}])
        self.host.write_world(pod_object("server", app="server"), pod_object("web", app="web"),
                              pod_object("friend", app="friend"), ONE_PEER, to_server)
        self.host.start_agent()
        server, address = self.run_pod("server")
        seen = Wire(self.netns(server))
        self.addCleanup(seen.close)
        for name in ("web", "friend"):
            self.cri.run_container(self.run_pod(name)[0], IMAGE, name, "50", *both(address))
        self.host.until(lambda: [p for p in seen.all() if p.text == "friend 3"], "the friend's datagrams arrive")
        time.sleep(0.2)
        texts = {p.text.split()[0] for p in seen.all() if p.protocol == "udp"}
        self.assertEqual(texts, {"friend"})
        self.assertEqual(len({p.source for p in seen.all() if p.protocol == "tcp"}), 1)

    def test_a_published_port_is_as_closed_as_the_pod(self):  # behind Debian's portmap
        self.host.write_world(pod_object("web", app="web"), ONE_PEER)
        self.host.start_agent()
        web = self.run_pod("web", ports=[(8080, PORT)])[0]
        seen = Wire(self.netns(web))
        self.addCleanup(seen.close)
        for source in (OUTSIDE, ALLOWED):
            with inside(self.host.outside):
                client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            client.bind((source, 0))
            client.settimeout(0.5)
            # The probe listens to nothing: who reaches the pod is refused by it, who does not hears nothing.
            with self.assertRaises(ConnectionRefusedError if source == ALLOWED else TimeoutError):
                client.connect((NODE, 8080))
            client.close()
        self.assertEqual({(p.source, p.port) for p in seen.all() if p.protocol == "tcp"}, {(ALLOWED, PORT)})


class Parallel(Runtime):
    def test_twenty_at_once(self):  # P19
        names = [f"pod{number}" for number in range(20)]
        self.host.write_world(*[pod_object(name, app="web") for name in names], ONE_PEER)
        self.host.start_agent()
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            pods = list(pool.map(self.run_pod, names))
            self.assertEqual(self.host.attached(), {sandbox.id for sandbox, _ in pods})
            self.assertEqual(len({address for _, address in pods}), 20)
            for (_, address), name in zip(pods, names):
                self.assert_only_its_peer(name, address)
            list(pool.map(self.cri.stop_sandbox, [sandbox for sandbox, _ in pods]))
        self.assert_nothing_is_left()


class Interrupted(Runtime):
    def plugin_processes(self):
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.readlink(f"/proc/{pid}/exe") == os.path.join(self.host.bin, "podfence-cni"):
                    found.append(int(pid))
            except OSError:
                pass
        return found

    def start(self, *names):
        self.host.write_world(*[pod_object(name, app="web") for name in names], ONE_PEER)
        self.host.start_agent()

    def assert_starts(self, name):
        """As the kubelet goes on: the same pod in its next sandbox."""
        address = self.run_pod(name, attempt=1)[1]
        self.assert_only_its_peer(name, address)

    def test_the_plugin_is_killed_while_it_waits(self):  # P16
        self.start("web")
        self.host.agent.send_signal(signal.SIGSTOP)  # it will read what the dead plugin asked, and what DEL did after it
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            started = pool.submit(self.run_pod, "web")
            self.host.until(self.plugin_processes, "the plugin runs")
            time.sleep(0.1)
            for pid in self.plugin_processes():
                os.kill(pid, signal.SIGKILL)
            with self.assertRaisesRegex(CriError, 'plugin type="podfence-cni"'):
                started.result()
        self.host.agent.send_signal(signal.SIGCONT)
        self.host.until(lambda: not self.host.attached(), "the removal comes after the request")
        self.assert_nothing_is_left()
        self.assert_starts("web")

    def test_the_plugin_is_killed_at_any_instant(self):  # P16
        names = [f"pod{number}" for number in range(16)]
        self.start(*names)
        killed = 0
        for number, name in enumerate(names):
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                started = pool.submit(self.run_pod, name)
                while not (pids := self.plugin_processes()) and not started.done():
                    pass
                time.sleep(number * 0.0001)
                for pid in pids:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                killed += started.exception() is not None
        print(f"  {killed} of {len(names)} killed before they had answered", flush=True)
        self.assertGreater(killed, 0)
        for sandbox in self.cri.sandboxes():
            self.cri.call("StopPodSandbox", {1: sandbox})
        self.host.until(lambda: not self.host.attached(), "nothing stays attached")
        self.assert_nothing_is_left()
        self.assertEqual({p.destination for p in self.wire.all() if p.text}, {ALLOWED} if killed < len(names) else set())
        self.assert_starts(names[0])

    def test_the_kubelet_gives_up_first(self):  # P15
        self.start("web")
        self.host.agent.send_signal(signal.SIGSTOP)
        begin = time.monotonic()
        with self.assertRaisesRegex(CriError, "(?i)deadline"):
            self.cri.run_sandbox(self.sandbox("web"), timeout=1)
        self.host.until(lambda: not self.plugin_processes(), "the plugin is gone")
        self.assertLess(time.monotonic() - begin, 6, "it and its DEL do not outlive the caller for long")
        self.host.agent.send_signal(signal.SIGCONT)
        self.host.until(lambda: not self.host.addresses_in_use(), "the address is free")
        self.host.until(lambda: not self.host.attached(), "nothing stays attached")
        self.assert_nothing_is_left()
        self.assert_starts("web")


class AgentAway(Runtime):
    ours = {"deadlineSeconds": 1}

    def journal(self):
        return os.listdir(os.path.join(self.host.state, "cni-journal"))

    def test_ADD_says_why_and_DEL_is_replayed(self):  # A11 D4 D7
        self.host.write_world(pod_object("old", app="web"), pod_object("new", app="web"), ONE_PEER)
        self.host.start_agent()
        old, address = self.run_pod("old")
        self.assert_only_its_peer("old", address)
        self.host.end_agent(signal.SIGKILL)
        with self.assertRaises(CriError) as failed:
            self.run_pod("new")
        self.assertRegex(str(failed.exception), "agent of this node cannot be reached: pods start when it runs again")
        refused = [line for line in self.host.commands() if not line["ok"]]
        self.assertEqual([(line["command"], line["code"]) for line in refused], [("ADD", 11)])
        self.assert_only_its_peer("old", address)
        self.cri.stop_sandbox(old)
        self.cri.remove_sandbox(old)
        self.assertEqual(self.host.addresses_in_use(), set(), "the chain went on to the end")
        self.assertIn(f"{old.id}@eth0", self.journal())
        self.host.start_agent()
        self.host.until(lambda: not self.journal(), "the journal is read")
        self.assert_nothing_is_left()
        self.assertFalse(self.host.set_has("known4", address))
        self.assert_only_its_peer("new", self.run_pod("new", attempt=1)[1])

    def test_a_restart_changes_nothing_for_pods_and_new_ones_wait(self):
        self.host.write_world(pod_object("old", app="web"), pod_object("new", app="web"), ONE_PEER)
        self.host.write_conflist(self.host.conflist("bridge", self.host.ours(deadlineSeconds=30)))
        self.host.start_agent()
        old, address = self.run_pod("old")
        for how in (signal.SIGTERM, signal.SIGKILL):
            self.host.end_agent(how)
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                waits = pool.submit(self.run_pod, "new", attempt=int(how))
                self.host.until(lambda: len(self.host.addresses_in_use()) == 2, "the chain has come to an address")
                time.sleep(0.3)
                self.assertFalse(waits.done())
                self.host.start_agent()
                new, its_address = waits.result()
            self.assert_only_its_peer("new", its_address)
            self.assertEqual(self.host.attached(), {old.id, new.id})
            self.cri.stop_sandbox(new)
        self.assert_only_its_peer("old", address)

    def test_pods_start_closed_where_that_is_chosen(self):
        self.host.write_world(pod_object("web", app="web"), ONE_PEER)
        self.host.write_conflist(self.host.conflist("bridge", self.host.ours(onAgentUnavailable="deny")))
        self.host.until(lambda: self.cri.network()[1][-1:] == ["podfence-cni"], "loaded")
        address = self.run_pod("web")[1]
        time.sleep(0.5)
        self.assertEqual(self.arrived(address), [])
        self.host.start_agent()
        self.host.until(lambda: self.arrived(address), "the agent opens it")
        self.assertEqual({destination for destination, _, _ in self.arrived(address)}, {ALLOWED})
        self.host.until(lambda: not self.journal(), "the journal is read")


class Bypassed(Runtime):
    def test_the_primary_overwrites_the_list(self):
        first = self.host.conflist("bridge", self.host.ours())
        pods = {name: pod_object(name, app="web") for name in ("before", "without", "after")}
        self.host.write_world(*pods.values(), ONE_PEER)
        self.host.start_agent()
        before, its_address = self.run_pod("before")
        self.host.write_conflist(self.host.conflist("bridge"))
        self.host.until(lambda: "podfence-cni" not in self.cri.network()[1], "the runtime reads it")
        without, address = self.run_pod("without")
        time.sleep(0.3)
        self.assertEqual(self.arrived(address), [], "an address of the node's range that nobody knows is closed")
        self.host.write_world(pods["before"], pod_object("without", [address], app="web"), pods["after"], ONE_PEER)
        self.host.until(lambda: self.arrived(address), "its object opens it, once it has the address")
        self.assertEqual({destination for destination, _, _ in self.arrived(address)}, {ALLOWED})
        named = {entry["pod"]: entry["why"] for entry in self.host.status()["unmanaged"]}
        self.assertIn("without", named)
        print(f"  status says: {named['without']}", flush=True)
        self.host.write_conflist(first)
        self.host.until(lambda: "podfence-cni" in self.cri.network()[1], "the runtime reads it")
        after = self.run_pod("after")
        self.assert_only_its_peer("after", after[1])
        self.assertEqual(self.host.attached(), {before.id, after[0].id})
        self.cri.stop_sandbox(without)  # D5: a DEL of what was never added
        self.assertEqual([(c["command"], c["ok"]) for c in self.host.commands(without.id)], [("DEL", True)])
        self.cri.stop_sandbox(before)
        self.assertEqual(self.host.addresses_in_use(), {after[1]})


if __name__ == "__main__":
    case.main()
