"""What the tests of containerd share: a host, the runtime, an image, and an eye on the outside."""
import argparse
import os
import sys
import unittest

import host as hosts
from containerd import Containerd
from cri import Sandbox
from host import ALLOWED, ALLOWED6, OUTSIDE, Host, blocks, policy
from wire import Wire

IMAGE = "localhost/probe:1"
PORT = 9000
OPTIONS = argparse.Namespace()
# Isolated both ways; one peer outside may be talked to, and may talk.
ONE_PEER = policy("one-peer", {"app": "web"}, policyTypes=["Ingress", "Egress"],
                  ingress=[{"from": blocks(ALLOWED, ALLOWED6)}], egress=[{"to": blocks(ALLOWED, ALLOWED6)}])


def both(*addresses):
    """As targets of the probe."""
    return [f"{address},{PORT},{protocol}" for address in addresses for protocol in ("udp", "tcp")]


class Runtime(unittest.TestCase):
    """Every sandbox's own process talks to a forbidden and to an allowed address of the outside, from its start on."""

    ours = {}  # more keys of our plugin's configuration

    def setUp(self):
        self.host = Host(OPTIONS.plugin, OPTIONS.agent)
        self.addCleanup(self.host.close)
        self.host.write_conflist(self.host.conflist("bridge", self.host.ours(**self.ours)))
        self.containerd = Containerd(self.host, IMAGE)
        self.addCleanup(self.containerd.close)
        self.containerd.add_image(IMAGE, OPTIONS.probe, ["-", "100", *both(OUTSIDE, ALLOWED)])
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

    def run_pod(self, name, **options):
        """The sandbox and its address."""
        sandbox = self.cri.run_sandbox(self.sandbox(name, **options))
        return sandbox, self.cri.addresses(sandbox)[0]

    def netns(self, sandbox):
        return f"/proc/{self.cri.process(sandbox)}/ns/net"

    def arrived(self, source):
        """Destinations, protocols and texts of what an address has sent to the outside."""
        return [(p.destination, p.protocol, p.text) for p in self.wire.all() if p.source == source]

    def assert_only_its_peer(self, name, address):
        """From its very first packet."""
        self.host.until(lambda: len(self.arrived(address)) >= 4, f"{name} talks to its peer")
        found = self.arrived(address)
        self.assertEqual(found[0], (ALLOWED, "udp", f"{name} 0"))
        self.assertEqual({destination for destination, _, _ in found}, {ALLOWED})

    def assert_nothing_is_left(self):
        self.assertEqual(self.host.addresses_in_use(), set())
        self.assertEqual(self.host.attached(), set())
        journal = os.path.join(self.host.state, "cni-journal")
        self.host.until(lambda: not os.path.isdir(journal) or not os.listdir(journal), "the journal is read")


def main():
    hosts.enter()
    unittest.TestCase.maxDiff = None
    parser = argparse.ArgumentParser()
    for option in ("--plugin", "--agent", "--probe"):
        parser.add_argument(option, required=True, type=os.path.abspath)
    rest = parser.parse_known_args(namespace=OPTIONS)[1]
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2)
