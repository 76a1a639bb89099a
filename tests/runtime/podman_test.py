#!/usr/bin/env python3
"""Containers of Debian's podman with its CNI backend, behind the chain and the agent as they are shipped:
podman_test.py --plugin PROGRAM --agent PROGRAM --probe PROGRAM

podman says the name of a container and no namespace, so that a pod's object is found by the address that it states.
"""
import json
import os
import signal
import time
import unittest

import case
import host as hosts
from case import ONE_PEER, OPTIONS, both
from image import write_image
from host import ALLOWED, OUTSIDE, Host, pod_object
from wire import Wire

IMAGE = "localhost/probe:1"
CONFIG = """[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]  # a root without CAP_SYS_RESOURCE may not raise them
apparmor_profile = "unconfined"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
static_dir = "{root}/static"
tmp_dir = "{root}/tmp"
volume_path = "{root}/volumes"
[network]
network_backend = "cni"
network_config_dir = "{conf}"
cni_plugin_dirs = ["{bin}"]
default_network = "kbr"
"""
STORAGE = """[storage]
driver = "vfs"
graphroot = "{root}/graph"
runroot = "{root}/runroot"
"""


class Podman(unittest.TestCase):
    def setUp(self):
        self.host = Host(OPTIONS.plugin, OPTIONS.agent)
        self.addCleanup(self.host.close)
        conflist = self.host.conflist("bridge", self.host.ours())
        conflist["cniVersion"] = "0.4.0"
        self.host.write_conflist(conflist)
        root = self.host.file("podman")
        os.mkdir(root)
        self.environment = {**os.environ, "HOME": root}
        for name, text in (("CONTAINERS_CONF", CONFIG), ("CONTAINERS_STORAGE_CONF", STORAGE)):
            self.environment[name] = os.path.join(root, name.lower())
            with open(self.environment[name], "w", encoding="utf-8") as file:
                file.write(text.format(root=root, conf=self.host.conf, bin=self.host.bin))
        image = os.path.join(root, "image.tar")
        write_image(image, IMAGE, OPTIONS.probe, [])
        self.podman("load", "-i", image)
        self.addCleanup(lambda: self.podman("rm", "-f", "-t", "0", "-a"))
        self.wire = Wire(self.host.outside)
        self.addCleanup(self.wire.close)

    def podman(self, *arguments):
        return hosts.run("podman", *arguments, env=self.environment).stdout

    def start(self, name, *options):
        """Its address."""
        self.podman("run", "-d", "--name", name, "--network", "kbr", "--cgroup-parent", self.host.cgroup, *options, IMAGE,
                    name, "100", *both(OUTSIDE, ALLOWED))
        return json.loads(self.podman("inspect", name))[0]["NetworkSettings"]["Networks"]["kbr"]["IPAddress"]

    def arrived(self, address):
        return [(p.destination, p.protocol, p.text) for p in self.wire.all() if p.source == address]

    def test_containers_are_policed_from_their_first_packet(self):
        self.host.write_world(pod_object("web", ["10.88.0.50"], app="web"), ONE_PEER)
        self.host.start_agent()
        address = self.start("web", "--ip", "10.88.0.50")
        self.host.until(lambda: len(self.arrived(address)) >= 6, "it talks to its peer")
        found = self.arrived(address)
        self.assertEqual(found[0], (ALLOWED, "udp", "web 0"))
        self.assertEqual({destination for destination, _, _ in found}, {ALLOWED})
        other = self.start("other")
        time.sleep(0.5)
        self.assertEqual(self.arrived(other), [], "one that no object speaks of is closed")
        self.assertEqual(len(self.host.attached()), 2)
        self.podman("rm", "-f", "-t", "0", "web", "other")
        self.assertEqual(self.host.attached(), set())
        self.assertEqual(self.host.addresses_in_use(), set())

    def test_without_the_agent_none_starts_and_all_can_be_removed(self):  # A11 D7
        self.host.write_conflist({**self.host.conflist("bridge", self.host.ours(deadlineSeconds=1)), "cniVersion": "0.4.0"})
        self.host.start_agent()
        self.start("old")
        self.host.end_agent(signal.SIGKILL)
        with self.assertRaisesRegex(RuntimeError, "agent of this node cannot be reached: pods start when it runs again"):
            self.start("new")
        self.podman("rm", "-f", "-t", "0", "old", "new")
        self.assertEqual(self.host.addresses_in_use(), set())
        self.host.start_agent()
        self.assertEqual(self.host.attached(), set())
        self.assertEqual(os.listdir(os.path.join(self.host.state, "cni-journal")), [])
        self.start("new")
        self.assertEqual(len(self.host.attached()), 1)


if __name__ == "__main__":
    case.main()
