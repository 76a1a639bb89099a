#!/usr/bin/env python3
"""Chains of Debian's plugins and podfence-cni with the real agent: real_agent_test.py --plugin PROGRAM --agent PROGRAM"""
import argparse
import concurrent.futures
import json
import os
import signal
import subprocess
import sys
import time
import unittest

import node
from driver import Attachment, Driver, PluginError

OPTIONS = None
NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
# Every pod of the namespace is isolated in both directions, but for the node.
ISOLATE = {
    "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "closed", "namespace": "shop"},
    "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
}  # fmt: skip


def until(what, says, seconds=30):
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            raise AssertionError(f"not in {seconds} s: {says}")
        time.sleep(0.02)


class RealAgent(unittest.TestCase):
    def setUp(self):
        self.work, self.pods, self.agent = node.Workspace(OPTIONS.plugin), node.Pods(), None
        self.addCleanup(self.work.remove)
        self.addCleanup(self.clean)
        os.mkdir(self.work.file("objects"))
        for number, manifest in enumerate((NAMESPACE, ISOLATE)):
            with open(self.work.file("objects", f"{number}.json"), "w", encoding="utf-8") as file:
                json.dump(manifest, file)
        self.start_agent()

    def clean(self):
        self.stop_agent()
        self.pods.remove()
        subprocess.run(["nft", "flush", "ruleset"], check=True)
        subprocess.run(["ip", "link", "del", "cni0"], check=False, capture_output=True)

    def start_agent(self):
        self.agent = node.RealAgent(OPTIONS.agent, self.work)

    def stop_agent(self, how=signal.SIGTERM):
        if self.agent:
            self.agent.stop(how)
        self.agent = None

    def ipam(self):
        ranges = [[{"subnet": "10.77.0.0/24"}], [{"subnet": "fd00:77::/64"}]]
        return {"type": "host-local", "dataDir": self.work.file("ipam"), "ranges": ranges, "routes": [{"dst": "0.0.0.0/0"}]}

    def chain(self, version="1.0.0", first="bridge", between=(), **ours):
        plugins = [{"type": first, "ipam": self.ipam()}, *between, self.work.ours(**ours)]
        if first == "bridge":
            plugins[0].update({"bridge": "cni0", "isGateway": True, "hairpinMode": True})
        return Driver({"cniVersion": version, "name": "kbr", "plugins": plugins}, self.work.path, self.work.file("cache"))

    def attachment(self, name):
        args = [("IgnoreUnknown", "1"), ("K8S_POD_NAMESPACE", "shop"), ("K8S_POD_NAME", name), ("K8S_POD_UID", "u-" + name)]
        return Attachment(name, self.pods.new(name), args=args)

    @staticmethod
    def add(chain, pod):
        """Its IPv4 address."""
        result = json.loads(chain.add(pod)[-1])
        return next(ip["address"].split("/")[0] for ip in result["ips"] if "." in ip["address"])

    @staticmethod
    def in_kernel(address):
        """In the set of addresses that are closed until their pod is known, and stay so until it allows more."""
        command = ["nft", "get", "element", "inet", "podfence", "managed4", f"{{ {address} }}"]
        return subprocess.run(command, capture_output=True).returncode == 0

    @staticmethod
    def reaches(pod, address):
        command = ["nsenter", f"--net={pod.netns}", "ping", "-c", "1", "-W", "1", address]
        return subprocess.run(command, capture_output=True).returncode == 0

    def test_the_kernel_has_the_pod_when_ADD_returns(self):
        others = [{"type": "portmap"}, {"type": "tuning", "sysctl": {"net.ipv4.conf.all.arp_announce": "1"}}, {"type": "firewall"}]
        for first in ("bridge", "ptp"):
            for version in ("0.4.0", "1.0.0"):
                with self.subTest(first=first, version=version):
                    chain, pod = self.chain(version, first, others), self.attachment(f"{first}{version}")
                    address = self.add(chain, pod)
                    self.assertTrue(self.in_kernel(address))
                    for _ in range(3):
                        chain.check(pod)  # C4
                        chain.list["plugins"] = chain.list["plugins"][:1] + chain.list["plugins"][-1:]
                    for _ in range(3):
                        chain.delete(pod)
                    until(lambda known=address: not self.in_kernel(known), "the address leaves the kernel")

    def test_bridged_pods_are_kept_apart_from_the_first_packet(self):
        chain, one, two = self.chain(), self.attachment("one"), self.attachment("two")
        first, second = self.add(chain, one), self.add(chain, two)
        self.assertFalse(self.reaches(one, second))
        self.assertFalse(self.reaches(two, first))
        self.assertTrue(self.reaches(one, "10.77.0.1"), "the node is not a peer")

    def test_CHECK_succeeds_only_while_the_kernel_has_the_pod(self):  # C3, C6
        chain, pod = self.chain(), self.attachment("pod")
        address = self.add(chain, pod)
        chain.check(pod)
        node.run("nft", "delete", "table", "inet", "podfence")
        try:
            chain.check(pod)  # the agent repairs too, and may be faster
            self.assertTrue(self.in_kernel(address))
        except PluginError as failed:
            self.assertEqual(failed.plugin, "podfence-cni")
        until(lambda: self.in_kernel(address), "the agent repairs its table")
        chain.check(pod)
        self.stop_agent()
        with self.assertRaises(PluginError) as failed:
            chain.check(pod)
        self.assertEqual(failed.exception.code, 11)

    def test_DEL_without_the_agent_is_replayed(self):  # D7
        chain, pod = self.chain(), self.attachment("pod")
        address = self.add(chain, pod)
        self.stop_agent(signal.SIGKILL)
        chain.delete(pod)
        journal = self.work.file("state", "cni-journal")
        self.assertEqual(os.listdir(journal), ["pod@eth0"])
        self.start_agent()
        until(lambda: not os.listdir(journal), "the journal is read")
        until(lambda: not self.in_kernel(address), "the address leaves the kernel")

    def test_ADD_waits_for_an_agent_that_restarts(self):
        self.stop_agent(signal.SIGKILL)
        chain, pod = self.chain(deadlineSeconds=30), self.attachment("pod")
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            added = pool.submit(self.add, chain, pod)
            time.sleep(0.5)
            self.start_agent()
            self.assertTrue(self.in_kernel(added.result()))

    def test_deny_is_closed_until_the_agent_takes_the_pod_over(self):
        self.stop_agent(signal.SIGKILL)
        chain, pod = self.chain(onAgentUnavailable="deny"), self.attachment("pod")
        address = self.add(chain, pod)
        self.assertFalse(self.reaches(pod, "10.77.0.1"))
        self.start_agent()
        until(lambda: self.in_kernel(address), "the agent takes the pod over")
        until(lambda: "policy drop" not in node.run("nft", "list", "tables") and self.reaches(pod, "10.77.0.1"), "it opens")
        self.assertEqual(os.listdir(self.work.file("state", "cni-journal")), [])
        chain.check(pod)

    def test_twenty_at_once(self):  # P19
        chain, pods = self.chain(deadlineSeconds=60), [self.attachment(f"pod{number}") for number in range(20)]
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            addresses = list(pool.map(lambda pod: self.add(chain, pod), pods))
            self.assertEqual([address for address in addresses if not self.in_kernel(address)], [])
            list(pool.map(chain.delete, pods))
        until(lambda: not any(map(self.in_kernel, addresses)), "all addresses leave the kernel")

    def test_STATUS_and_GC(self):  # S1, G3
        newest = Driver({"cniVersion": "1.1.0", "name": "kbr", "plugins": [self.work.ours()]}, self.work.path, self.work.root)
        chain, pod = self.chain(), self.attachment("pod")
        address = self.add(chain, pod)
        newest.status()
        newest.gc([{"containerID": "pod", "ifname": "eth0"}])
        self.assertTrue(self.in_kernel(address))
        newest.gc(None)
        until(lambda: not self.in_kernel(address), "the address leaves the kernel")
        self.stop_agent()
        with self.assertRaises(PluginError) as failed:
            newest.status()
        self.assertIn(failed.exception.code, (50, 51))


if __name__ == "__main__":
    node.enter()
    parser = argparse.ArgumentParser()
    parser.add_argument("--plugin", required=True)
    parser.add_argument("--agent", required=True)
    OPTIONS, rest = parser.parse_known_args()
    unittest.main(argv=[sys.argv[0], *rest])
