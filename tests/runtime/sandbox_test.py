#!/usr/bin/env python3
"""Pod sandboxes of Debian's containerd, with the chain and the agent as they are shipped:
sandbox_test.py --plugin PROGRAM --agent PROGRAM --probe PROGRAM"""
import argparse
import os
import sys
import unittest

import host as hosts
from containerd import Containerd
from cri import Sandbox
from host import ALLOWED, OUTSIDE, Host, pod_object, policy
from wire import Wire

OPTIONS = None
IMAGE = "localhost/probe:1"
PORT = 9000
# Isolated both ways; one peer outside may be talked to.
ONE_PEER = policy("one-peer", {"app": "web"}, policyTypes=["Ingress", "Egress"],
                  egress=[{"to": [{"ipBlock": {"cidr": f"{ALLOWED}/32"}}]}])


class Runtime(unittest.TestCase):
    def setUp(self):
        self.host = Host(OPTIONS.plugin, OPTIONS.agent)
        self.addCleanup(self.host.close)
        self.host.write_conflist(self.host.conflist("bridge", self.host.ours()))
        self.containerd = Containerd(self.host, IMAGE)
        self.addCleanup(self.containerd.close)
        targets = [f"{address},{PORT},{protocol}" for address in (OUTSIDE, ALLOWED) for protocol in ("udp", "tcp")]
        self.containerd.add_image(IMAGE, OPTIONS.probe, ["-", "100", *targets])
        self.cri = self.containerd.cri
        self.wire = Wire(self.host.outside)
        self.addCleanup(self.wire.close)
        self.addCleanup(self.remove_all)

    def remove_all(self):
        for sandbox in self.cri.sandboxes():
            self.cri.call("StopPodSandbox", {1: sandbox})
            self.cri.call("RemovePodSandbox", {1: sandbox})

    def sandbox(self, name, **options):
        return Sandbox(name, cgroup=self.host.cgroup, **options)

    def arrived(self, source):
        """Destinations, protocols and texts of what an address has sent to the outside."""
        return [(p.destination, p.protocol, p.text) for p in self.wire.all() if p.source == source]

    def test_an_isolated_pod_from_its_first_packet_to_its_end(self):  # A1 D3
        self.host.write_world(pod_object("web", app="web"), ONE_PEER)
        self.host.start_agent()
        web = self.cri.run_sandbox(self.sandbox("web"))
        address = self.cri.addresses(web)[0]
        self.assertTrue(self.host.set_has("known4", address))
        self.assertEqual(self.host.attached(), {web.id})
        self.host.until(lambda: len(self.arrived(address)) >= 6, "it talks to its peer")
        found = self.arrived(address)
        self.assertEqual(found[0], (ALLOWED, "udp", "web 0"), "the first packet of its life")
        self.assertEqual({destination for destination, _, _ in found}, {ALLOWED})
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


if __name__ == "__main__":
    hosts.enter()
    parser = argparse.ArgumentParser()
    for option in ("--plugin", "--agent", "--probe"):
        parser.add_argument(option, required=True, type=os.path.abspath)
    OPTIONS, rest = parser.parse_known_args()
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2)
