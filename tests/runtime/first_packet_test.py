#!/usr/bin/env python3
"""Pods whose first act is to send where they may not, and whom others call all the time, while the agent is killed at
random: first_packet_test.py --plugin PROGRAM --agent PROGRAM --probe PROGRAM

PODFENCE_PODS: how many through the chain (1000); PODFENCE_SANDBOXES: how many through containerd (100); PODFENCE_SEED.
Rows: R-01 R-06 X-03 A10 D6 D7.
"""
import collections
import concurrent.futures
import contextlib
import json
import os
import random
import subprocess
import sys
import time
import unittest

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cni"))

import case
import host as hosts
from case import ONE_PEER, OPTIONS, PORT, Runtime
from cri import CriError
from driver import Attachment, Driver, PluginError
from host import ALLOWED, ALLOWED6, OUTSIDE, OUTSIDE6, Host
from storm import EVERYBODY, KINDS, MUTE, Callers, Killer, objects_of, random_pods, seed
from wire import Wire

TCP = {kind: PORT + 1 + number for number, kind in enumerate(KINDS)}  # its port says of which kind a SYN's sender is
SENDING = 0.25  # seconds that a pod's process lives


class ThroughTheChain(unittest.TestCase):
    """Driven as libcni does, two stacks; so few addresses that each is soon another pod's, of another kind. Half of the
    pods are on a bridge, with addresses of the node's pod ranges: those are closed while they are nobody's. Half are
    routed and have addresses from elsewhere, as clouds give them: those are guarded from ADD to DEL."""

    def setUp(self):
        self.host = Host(OPTIONS.plugin, OPTIONS.agent)
        self.addCleanup(self.host.close)
        self.networks = {"bridge": ("10.88.0.0/26", "fd00:88::/122"), "ptp": ("10.99.0.0/26", "fd00:99::/122")}
        for subnet in self.networks["ptp"]:
            hosts.run("ip", "-n", "outside", "route", "add", subnet, "via", hosts.NODE6 if ":" in subnet else hosts.NODE)
        self.chains = [self.chain(first, subnets) for first, subnets in self.networks.items()]
        self.wires, self.server = [Wire(self.host.outside)], []
        self.addCleanup(lambda: [wire.close() for wire in self.wires])
        self.faults, self.counts, self.first = [], collections.Counter(), collections.defaultdict(set)

    def chain(self, first, subnets):
        conflist = self.host.conflist(first, self.host.ours(deadlineSeconds=60), name=f"k{first}", subnets=subnets)
        return Driver(conflist, [self.host.bin], self.host.file("cache"))

    @contextlib.contextmanager
    def namespace(self, name):
        hosts.run("ip", "netns", "add", name)
        args = [("IgnoreUnknown", "1"), ("K8S_POD_NAMESPACE", "shop"), ("K8S_POD_NAME", name), ("K8S_POD_UID", f"uid-{name}")]
        pod = Attachment(name, f"/run/netns/{name}", args=args)
        with hosts.inside(pod.netns):
            hosts.without_dad()
        try:
            yield pod
        finally:
            hosts.run("ip", "netns", "del", name)

    def add(self, chain, pod):
        """The addresses. As a runtime and the kubelet do: what has failed is taken down, then tried again."""
        while True:
            try:
                return [ip["address"].split("/")[0] for ip in json.loads(chain.add(pod)[-1])["ips"]]
            except PluginError as error:
                if error.code != 11:
                    raise
                self.counts["ADDs tried again"] += 1
                chain.delete(pod)

    def live(self, name, kind, chain):
        with self.namespace(name) as pod, contextlib.closing(Wire(pod.netns, megabytes=1)) as wire:
            addresses, added = self.add(chain, pod), time.monotonic()
            marks = [(w, len(w.all())) for w in self.wires]
            targets = [t for a in (OUTSIDE, OUTSIDE6, *self.server, ALLOWED, ALLOWED6)
                       for t in (f"{a},{PORT},udp", f"{a},{TCP[kind]},tcp")]
            process = subprocess.Popen(["nsenter", f"--net={pod.netns}", OPTIONS.probe, name, "40", *targets])
            time.sleep(SENDING)
            process.kill()
            process.wait()
            if chain is self.chains[1]:
                # What was let through before ADD, or after DEL, may have waited for a neighbour in between.
                self.judge_sent([p for w, mark in marks for p in w.all(mark) if p.source in addresses])
                self.judge_received(name, kind, [p for p in wire.all() if float(p.text.split()[1]) > added])
            chain.delete(pod)
            if chain is self.chains[0]:
                self.judge_received(name, kind, wire.all())  # since before it had an interface

    def judge_received(self, name, kind, packets):
        self.faults += [f"{name} received {p}" for p in packets if p.source not in KINDS[kind]]
        self.counts[f"received by {kind}"] += len(packets)
        if KINDS[kind] and not {p.source for p in packets} & {ALLOWED, ALLOWED6}:
            self.counts["called in vain by their peer"] += 1

    def judge_sent(self, packets):
        """What has reached the outside and the other pod."""
        for p in packets:
            kind = p.text.split("-")[0] if p.protocol == "udp" else {port: kind for kind, port in TCP.items()}.get(p.port)
            if kind != "free" and p.destination not in KINDS.get(kind, ()):
                self.faults.append(f"{kind} has sent {p}")
            self.counts[f"{p.protocol} sent by {kind}"] += 1
            if p.text.endswith(" 0"):
                self.first[p.destination].add(p.text.split()[0])

    def test_no_forbidden_packet_passes_while_the_agent_is_killed(self):
        count = int(os.environ.get("PODFENCE_PODS", 1000))
        chance = random.Random(seed())
        pods = random_pods(count, chance, list(KINDS))
        self.host.write_world(*objects_of({**pods, "server": "free"}), ONE_PEER, MUTE)
        begin = time.monotonic()
        with contextlib.ExitStack() as stack:
            killer = Killer(self.host, chance)
            stack.callback(killer.stop)
            server = stack.enter_context(self.namespace("server"))
            self.server = self.add(self.chains[0], server)
            self.wires.append(Wire(server.netns))
            callers = Callers(self.host, sorted(EVERYBODY), sum(self.networks.values(), ()))
            stack.callback(callers.stop)
            pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(8))
            lives = [pool.submit(self.live, name, kind, self.chains[number % 2])
                     for number, (name, kind) in enumerate(pods.items())]
            for life in lives:
                life.result()
        self.judge_sent([p for w in self.wires for p in w.all() if p.source.startswith(("10.88.", "fd00:88:"))])
        print(f"  {count} pods in {time.monotonic() - begin:.0f} s, {killer.kills} kills of the agent, "
              f"{len(self.faults)} forbidden packets", *sorted(self.counts.items()), sep="\n    ", flush=True)
        self.assertEqual(self.faults[:40], [], self.host.agent_warnings())
        talkers = {name for name, kind in pods.items() if KINDS[kind]}
        self.assertEqual(talkers - self.first[ALLOWED], set(), "their first packet did not come to their peer")
        # Over IPv6 some wait for a gateway whose address the kernel has not made usable yet, with or without us.
        self.assertGreater(len(talkers & self.first[ALLOWED6]), len(talkers) * 3 // 4)
        for what in ("received by web", "received by free", "udp sent by web", "tcp sent by web", "tcp sent by free"):
            self.assertGreater(self.counts[what], count // 8, what)
        self.assertLess(self.counts["called in vain by their peer"], count // 50 + 1)
        self.assertGreater(killer.kills, count // 100)


class ThroughContainerd(Runtime):
    """The sandbox's own process is the one that sends."""

    ours = {"deadlineSeconds": 60}

    def live(self, name):
        sandbox = self.sandbox(name)
        while True:
            try:
                self.cri.run_sandbox(sandbox)
                break
            except CriError:
                self.counts["sandboxes tried again"] += 1
                sandbox.config[1][3] += 1
        self.addresses[self.cri.addresses(sandbox)[0]] = name
        time.sleep(SENDING)
        with open(f"/proc/{self.cri.process(sandbox)}/net/snmp", encoding="ascii") as file:
            names, values = (line.split()[1:] for line in file if line.startswith("Udp:"))
        udp = dict(zip(names, map(int, values)))
        self.received[name] = udp["InDatagrams"] + udp["NoPorts"]  # since before it had an interface
        self.cri.stop_sandbox(sandbox)
        self.cri.remove_sandbox(sandbox)

    def test_no_forbidden_packet_passes_while_the_agent_is_killed(self):
        count = int(os.environ.get("PODFENCE_SANDBOXES", 100))
        chance = random.Random(seed())
        pods = random_pods(count, chance, ["web", "mute", "unknown"])
        self.host.write_world(*objects_of(pods), ONE_PEER, MUTE)
        self.addresses, self.received, self.counts = {}, {}, collections.Counter()
        begin = time.monotonic()
        with contextlib.ExitStack() as stack:
            killer = Killer(self.host, chance)
            stack.callback(killer.stop)
            callers = Callers(self.host, [OUTSIDE], [hosts.RANGE])  # whom no pod allows
            stack.callback(callers.stop)
            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                list(pool.map(self.live, pods))
        sent = [p for p in self.wire.all() if p.source not in EVERYBODY]
        faults = [p for p in sent if p.destination != ALLOWED or pods[self.addresses[p.source]] != "web"]
        faults += [f"{name} received {n} packets" for name, n in self.received.items() if n]
        print(f"  {count} sandboxes in {time.monotonic() - begin:.0f} s, {killer.kills} kills of the agent, "
              f"{len(faults)} forbidden packets", *sorted(self.counts.items()), sep="\n    ", flush=True)
        self.assertEqual(faults[:40], [], self.host.agent_warnings())
        self.assertEqual({p.text.split()[0] for p in sent if p.text.endswith(" 0")},
                         {name for name, kind in pods.items() if kind == "web"}, "first packets that came to the peer")
        self.assertEqual(len(self.addresses), min(count, 1021))
        self.assertGreater(killer.kills, count // 20)
        self.host.until(lambda: self.host.status().get("enforcing_since"), "the last agent enforces")
        self.assert_nothing_is_left()


if __name__ == "__main__":
    case.main()
