#!/usr/bin/env python3
"""Debian's containerd behind `podfence install-cni --watch`, while the network's own installer writes its list anew:
installed_test.py --plugin PROGRAM --agent PROGRAM --probe PROGRAM"""
import json
import os
import subprocess
import threading
import time

import case
from case import OPTIONS, ONE_PEER, Runtime
from host import ALLOWED, pod_object, run

PRIMARY = "10-kbr.conflist"
PODS = [f"pod{number}" for number in range(40)]


class Installed(Runtime):
    """Every pod talks to a forbidden address from its first instruction on. One that starts while the plugin is not in the
    list is closed as an address that nobody knows; none is ever open."""

    mode = "own"

    def setUp(self):
        super().setUp()
        self.primary(1450)
        self.host.write_world(*[pod_object(name, app="web") for name in PODS], ONE_PEER)
        self.host.start_agent()
        self.names = iter(PODS)
        self.started = []

    def primary(self, mtu):
        """What the network's installer writes: a list that does not know of us."""
        conflist = self.host.conflist("bridge")
        conflist["plugins"][0]["mtu"] = mtu
        self.host.write_conflist(conflist)

    def command(self, verb, *more):
        return [OPTIONS.agent, verb, "--conf-dir", self.host.conf, "--bin-dir", self.host.bin, "--state-dir", self.host.state,
                "--plugin", OPTIONS.plugin, "--cri-socket", self.containerd.socket, *more]

    def watch(self):
        with open(self.host.file("install.log"), "a", encoding="utf-8") as log:
            watcher = subprocess.Popen(
                self.command("install-cni", "--watch", "--mode", self.mode, "--socket", self.host.socket,
                             "--plugin-state-dir", self.host.state, "--log-file", self.host.plugin_log),
                stdout=log, stderr=log)  # fmt: skip
        self.addCleanup(lambda: watcher.poll() is None and (watcher.kill(), watcher.wait()))
        self.host.until(lambda: "podfence-cni" in self.cri.network()[1], "the runtime has it")
        return watcher

    def installation(self):
        with open(os.path.join(self.host.state, "cni-install.json"), encoding="utf-8") as file:
            return json.load(file)

    def chained(self):
        """In the list that the runtime takes next."""
        first = min(name for name in os.listdir(self.host.conf) if name.endswith(".conflist"))
        with open(os.path.join(self.host.conf, first), encoding="utf-8") as file:
            return "podfence-cni" in file.read()

    def start_pod(self):
        name = next(self.names)
        sandbox, address = self.run_pod(name)
        self.started.append((name, sandbox, address))
        return name, sandbox, address

    def pods_while(self, disturb):
        """Starts pods one after the other until `disturb` has ended, three at least."""
        thread = threading.Thread(target=disturb)
        thread.start()
        count = 0
        while thread.is_alive() and count < len(PODS) - 4 or count < 3:
            self.start_pod()
            count += 1
        thread.join()
        return count

    def assert_all_closed(self):
        attached = self.host.attached()
        for name, sandbox, address in self.started:
            if sandbox.id in attached:
                self.assert_only_its_peer(name, address)
            else:
                self.assertEqual(self.arrived(address), [], f"{name} started without the plugin and is open")
        return sum(sandbox.id not in attached for _, sandbox, _ in self.started)

    def test_the_primary_overwrites_and_it_is_repaired(self):
        before = self.start_pod()
        self.assertEqual(self.host.attached(), set())
        watcher = self.watch()
        name, _, address = self.start_pod()
        self.assert_only_its_peer(name, address)

        def overwrite():
            for number in range(3):
                self.primary(1400 + number)
                self.host.until(lambda number=number: self.chained() and self.seen_mtu() == 1400 + number, "follows it")
                time.sleep(1.5)  # who overwrites again and again is answered slower

        count = self.pods_while(overwrite)
        without = self.assert_all_closed()
        self.assertNotIn(before[1].id, self.host.attached())
        print(f"  {self.mode}: {count} pods, {without - 1} of them without the plugin, and closed", flush=True)
        self.assertLess(without - 1, count)
        if self.mode == "own":
            self.assertEqual(without, 1, "the network's list never comes first")
        self.host.until(lambda: "podfence-cni" in self.cri.network()[1], "the runtime has it again")
        name, sandbox, address = self.start_pod()
        self.assertIn(sandbox.id, self.host.attached())
        self.assert_only_its_peer(name, address)
        watcher.terminate()
        self.assertEqual(watcher.wait(30), 0)
        self.uninstall()

    def seen_mtu(self):
        first = min(name for name in os.listdir(self.host.conf) if name.endswith(".conflist"))
        with open(os.path.join(self.host.conf, first), encoding="utf-8") as file:
            return json.load(file)["plugins"][0].get("mtu")

    def uninstall(self):
        """The network's list is what its installer wrote last, and pods that have the plugin still end well."""
        run(*self.command("uninstall-cni", "--drain-seconds", "1"))
        conflist = self.host.conflist("bridge")
        conflist["plugins"][0]["mtu"] = 1402
        with open(os.path.join(self.host.conf, PRIMARY), encoding="utf-8") as file:
            self.assertEqual(file.read(), json.dumps(conflist))
        self.assertEqual([name for name in os.listdir(self.host.conf) if "podfence" in name], [])
        self.host.until(lambda: "podfence-cni" not in self.cri.network()[1], "the runtime reads it")
        for _, sandbox, _ in self.started:
            self.cri.stop_sandbox(sandbox)
        self.assertEqual(self.host.addresses_in_use(), set())


class InPlace(Installed):
    mode = "in-place"


class TakenAway(Installed):
    """Somebody removes what was installed."""

    test_the_primary_overwrites_and_it_is_repaired = None

    def test_the_list_and_the_program_come_back(self):
        self.watch()
        # What goes before the installer has seen it stand is no repair: it was never installed.
        self.host.until(lambda: self.installation()["state"] == "installed", "the installer has seen it")
        ours = [os.path.join(self.host.conf, "00-podfence.conflist"), os.path.join(self.host.bin, "podfence-cni")]

        for path in ours:
            os.remove(path)
            self.host.until(lambda path=path: os.path.exists(path), f"{path} is back")
        self.host.until(lambda: self.installation()["repairs_total"] >= 2, "counted")
        self.assertEqual(self.host.status()["cni_install"]["state"], "installed")
        self.host.until(lambda: "podfence-cni" in self.cri.network()[1], "the runtime has it again")
        name, _, address = self.start_pod()
        self.assert_only_its_peer(name, address)


if __name__ == "__main__":
    case.main()
