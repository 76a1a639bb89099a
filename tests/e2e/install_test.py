#!/usr/bin/env python3
"""podfence install-cni on real chains: pods start before, while and after it is at work, whatever happens to it.
install_test.py --program PODFENCE --plugin PODFENCE_CNI"""
import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import unittest

from install_host import Host, Loop, node

PROGRAM = PLUGIN = None


def until(condition, what, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.01)


class Case(unittest.TestCase):
    def setUp(self):
        self.host = Host(PROGRAM, PLUGIN)
        self.addCleanup(self.host.remove)
        self.host.write_network()

    def other_plugin(self, add=b"\0"):
        """The same program with other bytes: an upgrade."""
        path = self.host.work.file("podfence-cni-next")
        shutil.copy(PLUGIN, path)
        with open(path, "ab") as file:
            file.write(add)
        return path

    def binary(self):
        with open(os.path.join(self.host.bin, "podfence-cni"), "rb") as file:
            return file.read()


class Modes(Case):
    def test_R2_R10_own_and_in_place_with_real_chains(self):
        for mode in ("own", "in-place"):
            with self.subTest(mode):
                self.assertEqual(self.host.live(f"before-{mode}"), 0)
                before = self.host.read()
                self.host.install("--mode", mode)
                self.assertEqual(self.host.live(f"with-{mode}"), 1)
                self.assertIn((f"with-{mode}", "eth0"), [(r.get("container_id"), r.get("ifname")) for r in self.host.agent.asked])
                self.host.uninstall()
                self.assertEqual(self.host.read(), before)
                self.assertEqual(self.host.live(f"after-{mode}"), 0)
                self.assertEqual(sorted(os.listdir(self.host.conf)), ["10-kbr.conflist"])
                self.assertNotIn("podfence-cni", os.listdir(self.host.bin))

    def test_R9_a_single_plugin(self):
        os.remove(os.path.join(self.host.conf, "10-kbr.conflist"))
        plain = json.dumps({"cniVersion": "0.4.0", "name": "one", **json.loads(self.host.network())["plugins"][0]})
        with open(os.path.join(self.host.conf, "10-one.conf"), "w", encoding="utf-8") as file:
            file.write(plain)
        self.assertEqual(self.host.live("before"), 0)
        self.host.install()
        self.assertEqual(self.host.live("with"), 1)
        self.host.uninstall()
        self.assertEqual(self.host.live("after"), 0)
        self.assertEqual(self.host.read("10-one.conf"), plain)

    def test_R5_pods_from_before_an_uninstallation_can_still_be_deleted(self):
        """A runtime that deletes with the list that it added with (CRI-O, podman) needs the program."""
        self.host.install()
        from driver import Attachment

        driver = self.host.driver()
        pod = Attachment("old", self.host.pods.new("old"), capability_args={"portMappings": []})
        driver.add(pod)
        said = self.host.uninstall()
        self.assertIn("1 sandboxes were made with it", said)
        self.assertEqual(self.host.chained(), 0)
        driver.delete(pod)
        self.host.uninstall()
        self.assertNotIn("podfence-cni", os.listdir(self.host.bin))


class WhilePodsStart(Case):
    def assert_no_failure(self, loop):
        self.assertEqual(loop.failures, [], f"{len(loop.failures)} of {len(loop.lives)} pods did not start")

    def test_install_upgrade_downgrade_uninstall(self):
        loop = Loop(self.host)
        self.addCleanup(loop.end)
        marks = {}
        loop.wait_for(2)
        rounds = 4
        for turn in range(rounds):
            mode = ("own", "in-place")[turn % 2]
            self.host.install("--mode", mode)
            marks[turn] = [time.monotonic(), 0]
            loop.wait_for(2)
            self.host.install("--mode", mode, "--deadline-seconds", "9", plugin=self.other_plugin())
            loop.wait_for(2)
            self.host.install("--mode", ("in-place", "own")[turn % 2])  # back to the older program, in the other mode
            loop.wait_for(2)
            marks[turn][1] = time.monotonic()
            self.host.uninstall("--purge")
            loop.wait_for(2)
        lives = loop.end()
        self.assert_no_failure(loop)
        inside = 0
        for begin, end in marks.values():
            for started, _, entries in lives:
                if begin <= started <= end:
                    inside += 1
                    self.assertGreaterEqual(entries, 1, "a pod started without the plugin while it was installed")
        self.assertGreaterEqual(inside, rounds * 4)
        print(f"{len(lives)} pods, {inside} of them while it was installed")

    def test_killed_at_random(self):
        """kill -9 of an installer that goes from mode to mode, over and over; never from the last list to none."""
        seed = int(os.environ.get("PODFENCE_SEED", random.randrange(1 << 30)))
        print(f"PODFENCE_SEED={seed}")
        dice = random.Random(seed)
        self.host.install()
        begin = time.monotonic()
        self.host.install("--mode", "in-place")
        length = time.monotonic() - begin
        loop = Loop(self.host)
        self.addCleanup(loop.end)
        begin = time.monotonic()
        other, kills = self.other_plugin(), 0
        for _ in range(100):
            mode = dice.choice(("own", "in-place"))
            command = self.host.installing("--cri-socket", "none", "--mode", mode, plugin=dice.choice((PLUGIN, other)))
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(dice.random() * length)
            process.kill()
            kills += process.wait() == -signal.SIGKILL
        self.host.install()
        lives = loop.end()
        self.assert_no_failure(loop)
        self.assertTrue(all(entries >= 1 for started, _, entries in lives if started >= begin), "a pod without the plugin")
        self.assertGreater(kills, 25)
        self.host.uninstall("--purge")
        self.assertEqual(self.host.read(), self.host.network())
        print(f"{len(lives)} pods, {kills} installers killed")

    def test_two_installers_at_once(self):
        loop = Loop(self.host)
        self.addCleanup(loop.end)
        for _ in range(5):
            commands = [self.host.installing("--cri-socket", "none", "--mode", mode, plugin=plugin)
                        for mode, plugin in (("own", PLUGIN), ("in-place", self.other_plugin()), ("own", PLUGIN))]
            started = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for command in commands]
            for process in started:
                _, said = process.communicate(timeout=60)
                self.assertEqual(process.returncode, 0, said)
            self.assertEqual(self.host.chained(), 1)
        loop.wait_for(2)
        loop.end()
        self.assert_no_failure(loop)


class Watching(Case):
    def setUp(self):
        super().setUp()
        self.log = open(self.host.work.file("watch.log"), "w+", encoding="utf-8")
        self.addCleanup(self.log.close)

    def watch(self, *more):
        process = subprocess.Popen(self.host.installing("--cri-socket", "none", "--watch", *more), stderr=self.log, stdout=self.log)
        self.addCleanup(lambda: process.poll() is None and (process.kill(), process.wait()))
        return process

    def said(self):
        self.log.flush()
        with open(self.log.name, encoding="utf-8") as file:
            return file.read()

    def test_repairs_what_others_take_away(self):
        watcher = self.watch()
        until(lambda: self.host.chained() == 1, "installed")
        until(lambda: os.path.exists(os.path.join(self.host.state, "cni-install.json")) and
              self.host.status()["state"] == "installed", "said so")
        worst = 0
        for number, name in enumerate(("net.d/00-podfence.conflist", "opt/podfence-cni"), 1):
            begin = time.monotonic()
            os.remove(self.host.work.file(name))
            until(lambda: os.path.exists(self.host.work.file(name)), f"{name} is back")
            worst = max(worst, time.monotonic() - begin)
            until(lambda: self.host.status()["repairs_total"] == number, "counted")
        self.assertIn("wrote ", self.said())
        self.host.write_network(mtu=1400)
        until(lambda: self.host.first_list()["plugins"][0]["mtu"] == 1400, "follows the network")
        self.assertEqual(self.host.status()["repairs_total"], 2)
        watcher.terminate()
        self.assertEqual(watcher.wait(10), 0)
        self.assertEqual(self.host.chained(), 1)  # an end is no uninstallation
        self.assertEqual(self.host.live("pod"), 1)
        print(f"repaired within {worst:.3f} s")

    def test_R8_in_place_against_a_network_that_writes_its_list_anew(self):
        self.watch("--mode", "in-place")
        until(lambda: self.host.chained() == 1, "installed")
        worst = 0
        for number in range(3):
            time.sleep(1.2)
            begin = time.monotonic()
            self.host.write_network(mtu=1400 + number)
            until(lambda: self.host.chained() == 1, "put right")
            worst = max(worst, time.monotonic() - begin)
            self.assertEqual(self.host.first_list()["plugins"][0]["mtu"], 1400 + number)
        until(lambda: self.host.status()["repairs_total"] == 3, "counted")
        print(f"put right within {worst:.3f} s")

    def test_R1_waits_for_a_network_and_an_agent(self):
        os.remove(os.path.join(self.host.conf, "10-kbr.conflist"))
        self.host.agent.stop()
        self.watch()
        until(lambda: "no network is configured yet" in self.said(), "says what it waits for")
        self.assertEqual(self.host.status()["state"], "waiting")
        self.host.write_network()
        until(lambda: "no agent answers" in self.said(), "says what it waits for")
        self.assertEqual(os.listdir(self.host.conf), ["10-kbr.conflist"])
        self.host.agent = node.Agent(self.host.work.socket)
        until(lambda: self.host.chained() == 1, "installed")
        os.remove(os.path.join(self.host.conf, "10-kbr.conflist"))
        until(lambda: self.host.status()["state"] == "degraded", "raises an alarm when the network is gone")
        self.assertEqual(self.host.chained(), 1)

    def test_a_directory_that_is_made_again(self):
        self.watch()
        until(lambda: self.host.chained() == 1, "installed")
        shutil.rmtree(self.host.conf)
        until(lambda: self.host.status()["state"] == "degraded", "raises an alarm")
        os.mkdir(self.host.conf)
        self.host.write_network()
        until(lambda: os.path.exists(os.path.join(self.host.conf, "00-podfence.conflist")), "installed again")

    def test_who_overwrites_again_and_again_is_answered_slower(self):
        self.watch()
        until(lambda: self.host.chained() == 1, "installed")
        ours = os.path.join(self.host.conf, "00-podfence.conflist")
        begin, removed = time.monotonic(), 0
        while time.monotonic() - begin < 5:
            if os.path.exists(ours):
                os.remove(ours)
                removed += 1
            time.sleep(0.005)
        self.assertLess(removed, 12)
        self.assertGreater(removed, 2)


class Reboot(Case):
    """At boot nothing of ours runs yet, and the network's own installer writes its file anew."""

    def test_own_is_there_before_anything_runs(self):
        self.host.install()
        for number in range(20):
            self.host.write_network(mtu=1300 + number)
            self.assertEqual(self.host.chained(), 1)
        os.remove(os.path.join(self.host.conf, "10-kbr.conflist"))  # or it takes it away first
        self.assertEqual(self.host.chained(), 1)
        self.assertEqual(self.host.live("pod"), 1)
        self.host.write_network(mtu=1300)
        self.host.install()  # and then ours starts, and follows
        self.assertEqual(self.host.first_list()["plugins"][0]["mtu"], 1300)

    def test_everything_was_synced_before_it_got_its_name(self):
        trace = self.host.work.file("trace")
        self.host.run("strace", "-y", "-o", trace, "-e", "trace=fsync,renameat,renameat2,rename", *self.host.installing("--cri-socket", "none"))
        with open(trace, encoding="ascii") as file:
            calls = [line for line in file if "= 0" in line]
        renames = [index for index, call in enumerate(calls) if call.startswith("rename")]
        self.assertGreaterEqual(len(renames), 3, calls)  # the state, the program, the list
        for index in renames:
            directory, temporary = re.search(r"<([^>]*)>, \"([^\"]*)\"", calls[index]).groups()
            self.assertRegex(calls[index - 1], rf"^fsync\(\d+<{re.escape(directory)}/{re.escape(temporary)}>\)", "synced, then renamed")
            self.assertRegex(calls[index + 1], rf"^fsync\(\d+<{re.escape(directory)}>\)", "renamed, then its directory synced")


def main():
    global PROGRAM, PLUGIN
    node.enter()
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--plugin", required=True)
    options, rest = parser.parse_known_args()
    PROGRAM, PLUGIN = options.program, options.plugin
    unittest.main(module="__main__", argv=[sys.argv[0], *rest], verbosity=2)


if __name__ == "__main__":
    main()
