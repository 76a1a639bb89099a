#!/usr/bin/env python3
"""podfence-cni in chains with Debian's plugins, driven as libcni drives them: chains_test.py --plugin PROGRAM"""
import argparse
import concurrent.futures
import json
import os
import sys
import unittest

import node
from driver import Attachment, Driver, PluginError

VERSIONS = ("0.3.1", "0.4.0", "1.0.0")
ARGS = [("IgnoreUnknown", "1"), ("K8S_POD_NAMESPACE", "shop"), ("K8S_POD_NAME", "web"), ("K8S_POD_UID", "u-1")]
CAPABILITIES = {"portMappings": [], "bandwidth": {"ingressRate": 10_000_000, "ingressBurst": 80_000_000}}
PLUGIN = None  # the program under test


class Chain(unittest.TestCase):
    def setUp(self):
        self.work = node.Workspace(PLUGIN)
        self.pods = node.Pods()
        self.agent = node.Agent(self.work.socket)
        self.addCleanup(self.work.remove)
        self.addCleanup(self.pods.remove)
        self.addCleanup(lambda: self.agent and self.agent.stop())

    def ipam(self):
        ranges = [[{"subnet": "10.77.0.0/24"}], [{"subnet": "fd00:77::/64"}]]
        return {"type": "host-local", "dataDir": self.work.file("ipam"), "ranges": ranges, "routes": [{"dst": "0.0.0.0/0"}]}

    def bridge(self, **keys):
        return {"type": "bridge", "bridge": "cni0", "isGateway": True, "hairpinMode": True, "ipam": self.ipam(), **keys}

    def ptp(self):
        return {"type": "ptp", "ipam": self.ipam()}

    @staticmethod
    def others(version):
        """Debian's chained plugins; firewall speaks 0.4.0 and later only."""
        plugins = [
            {"type": "portmap", "capabilities": {"portMappings": True}},
            {"type": "tuning", "sysctl": {"net.ipv4.conf.all.arp_announce": "1"}},
            {"type": "bandwidth", "capabilities": {"bandwidth": True}},
        ]
        return plugins if version == "0.3.1" else [*plugins, {"type": "firewall"}]

    def driver(self, version, *plugins, name="kbr"):
        return Driver({"cniVersion": version, "name": name, "plugins": list(plugins)}, self.work.path, self.work.file("cache"))

    def attachment(self, container_id):
        return Attachment(container_id, self.pods.new(container_id), args=ARGS, capability_args=CAPABILITIES)

    def addresses_in_use(self):
        folder = self.work.file("ipam", "kbr")
        return [name for name in os.listdir(folder) if name[0].isdigit() or name.startswith("fd00")] if os.path.isdir(folder) else []

    def live(self, driver, attachment):
        """One pod's life; what our plugin printed and what the one before it did."""
        results = driver.add(attachment)
        types = [plugin["type"] for plugin in driver.list["plugins"]]
        at = types.index("podfence-cni")
        self.assertEqual(results[at], results[at - 1], "passed on byte for byte")
        self.assertIn((attachment.container_id, "eth0"), self.agent.attachments)
        if driver.at_least(0, 4, 0):
            for _ in range(3):
                driver.check(attachment)
        for _ in range(3):
            driver.delete(attachment)
        self.assertEqual(self.agent.attachments, {})
        self.assertEqual(self.addresses_in_use(), [])


class Lives(Chain):
    def test_behind_bridge_and_all_others(self):
        for version in VERSIONS:
            with self.subTest(version):
                chain = self.driver(version, self.bridge(), *self.others(version), self.work.ours())
                self.live(chain, self.attachment("b" + version))
                added = next(request for request in self.agent.asked if request["container_id"] == "b" + version)
                self.assertEqual(added["bridge"], "cni0")
                self.assertEqual((added["pod_namespace"], added["pod_name"], added["pod_uid"]), ("shop", "web", "u-1"))
                self.assertEqual(len(added["addresses"]), 2)

    def test_behind_ptp_and_before_the_others(self):
        for version in VERSIONS:
            with self.subTest(version):
                chain = self.driver(version, self.ptp(), self.work.ours(), *self.others(version))
                self.live(chain, self.attachment("p" + version))

    def test_bridge_calls_iptables_afterwards(self):
        for family in ("iptables", "ip6tables"):
            with open(f"/proc/sys/net/bridge/bridge-nf-call-{family}", "w", encoding="ascii") as file:
                file.write("0")
        chain = self.driver("1.0.0", self.bridge(), self.work.ours())
        pod = self.attachment("pod")
        chain.add(pod)
        self.assertIn("nf_call_iptables 1", node.run("ip", "-d", "link", "show", "cni0"))
        chain.check(pod)
        node.run("ip", "link", "set", "cni0", "type", "bridge", "nf_call_iptables", "0")
        with self.assertRaises(PluginError) as failed:
            chain.check(pod)
        self.assertEqual((failed.exception.plugin, failed.exception.code), ("podfence-cni", 11))
        chain.delete(pod)

    def test_twenty_at_once(self):
        chain = self.driver("1.0.0", self.bridge(), self.work.ours())
        pods = [self.attachment(f"pod{number}") for number in range(20)]
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            list(pool.map(chain.add, pods))
            self.assertEqual(len(self.agent.attachments), 20)
            list(pool.map(chain.delete, pods))
        self.assertEqual(self.agent.attachments, {})
        self.assertEqual(self.addresses_in_use(), [])


class Refusals(Chain):
    def assert_refused(self, chain, pod, code, says):
        with self.assertRaises(PluginError) as failed:
            chain.add(pod)
        self.assertEqual((failed.exception.plugin, failed.exception.code), ("podfence-cni", code), failed.exception)
        self.assertIn(says, str(failed.exception))
        chain.delete(pod)  # as runtimes do
        self.assertEqual(self.addresses_in_use(), [])

    def test_macvlan(self):
        node.run("ip", "link", "add", "up0", "type", "veth", "peer", "name", "up1")
        node.run("ip", "link", "set", "up0", "up")
        self.addCleanup(node.run, "ip", "link", "del", "up0")
        chain = self.driver("1.0.0", {"type": "macvlan", "master": "up0", "ipam": self.ipam()}, self.work.ours())
        self.assert_refused(chain, self.attachment("pod"), 7, "kind macvlan")
        self.assertFalse([request for request in self.agent.asked if request["command"] == "cni.add"])

    def test_loopback(self):
        pod = self.attachment("pod")
        pod.ifname = "lo"
        self.assert_refused(self.driver("1.0.0", {"type": "loopback"}, self.work.ours()), pod, 7, "podfence")

    def test_first_in_the_chain(self):
        self.assert_refused(self.driver("1.0.0", self.work.ours()), self.attachment("pod"), 7, "missing prevResult")

    def test_without_the_agent_ADD_is_to_be_tried_again_and_DEL_frees_the_address(self):
        self.agent.stop()
        self.agent = None
        chain = self.driver("1.0.0", self.bridge(), self.work.ours(deadlineSeconds=0.2))
        self.assert_refused(chain, self.attachment("pod"), 11, "the runtime tries again")
        self.assertEqual(os.listdir(self.work.file("state", "cni-journal")), ["pod@eth0"])

    def test_DEL_of_a_pod_from_before_the_plugin_was_there(self):
        pod = self.attachment("pod")
        self.driver("1.0.0", self.bridge()).add(pod)
        self.driver("1.0.0", self.bridge(), self.work.ours()).delete(pod)
        self.assertEqual(self.addresses_in_use(), [])


class Newest(Chain):
    """1.1.0, which Debian's plugins do not speak: our plugin by itself."""

    def test_status_and_gc(self):
        chain = self.driver("1.1.0", self.work.ours())
        chain.status()
        pods = [self.attachment(f"pod{number}") for number in range(3)]
        old = self.driver("1.0.0", self.bridge(), self.work.ours())
        for pod in pods:
            old.add(pod)
        chain.gc([{"containerID": "pod1", "ifname": "eth0"}])
        self.assertEqual(list(self.agent.attachments), [("pod1", "eth0")])
        self.driver("1.1.0", self.work.ours(), name="other").gc(None)
        self.assertEqual(list(self.agent.attachments), [("pod1", "eth0")], "of another network")
        chain.gc(None)
        self.assertEqual(self.agent.attachments, {})
        for pod in pods:
            old.delete(pod)

    def test_status_without_an_agent(self):
        self.agent.stop()
        self.agent = None
        chain = self.driver("1.1.0", self.work.ours())
        with self.assertRaises(PluginError) as failed:
            chain.status()
        self.assertEqual(failed.exception.code, 51)
        node.run("nft", "add", "table", "inet", "podfence")
        self.addCleanup(node.run, "nft", "delete", "table", "inet", "podfence")
        with self.assertRaises(PluginError) as failed:
            chain.status()
        self.assertEqual(failed.exception.code, 50)


class Cache(Chain):
    def test_is_written_as_libcni_writes_it(self):
        chain = self.driver("1.0.0", self.bridge(), self.work.ours())
        pod = self.attachment("pod")
        chain.add(pod)
        file = self.work.file("cache", "results", "kbr-pod-eth0")
        self.assertEqual(os.stat(file).st_mode & 0o777, 0o600)
        with open(file, encoding="utf-8") as opened:
            entry = json.load(opened)
        self.assertEqual((entry["kind"], entry["networkName"], entry["ifName"]), ("cniCacheV1", "kbr", "eth0"))
        chain.delete(pod)
        self.assertFalse(os.path.exists(file))


if __name__ == "__main__":
    node.enter()
    parser = argparse.ArgumentParser()
    parser.add_argument("--plugin", required=True)
    options, rest = parser.parse_known_args()
    PLUGIN = options.plugin
    unittest.main(argv=[sys.argv[0], *rest])
