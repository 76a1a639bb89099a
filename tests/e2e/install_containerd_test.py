#!/usr/bin/env python3
"""The installer and a real runtime: what Debian's containerd says that it has loaded.
install_containerd_test.py --program PODFENCE --plugin PODFENCE_CNI"""
import json
import os
import shutil

import install_test
from containerd import Containerd
from install_test import Case, until


class Runtime(Case):
    most_networks = 1

    def setUp(self):
        super().setUp()
        self.runtime = Containerd(self.host.work.file("containerd"), self.host.conf, self.host.bin, self.most_networks)
        self.addCleanup(self.runtime.stop)
        self.cri = ("--cri-socket", self.runtime.socket)

    def check(self, code, *more):
        return self.host.install("--check", *more, code=code, cri=self.cri)

    def test_R6_loaded_and_not_loaded(self):
        self.assertIn("not loaded: containerd has kbr (bridge portmap)", self.check(2))
        self.assertIn("runtime: loaded by containerd", self.host.install(cri=self.cri))
        self.assertEqual(self.host.status()["verified"], "loaded by containerd")
        self.check(0)
        self.host.install("--mode", "in-place", cri=self.cri)
        self.check(0, "--mode", "in-place")
        said = self.host.uninstall(cri=self.cri)
        self.assertIn("runtime: not loaded by containerd", said)
        self.assertIn("not loaded: containerd has kbr (bridge portmap)", self.check(2))

    def test_R7_T4_a_change_that_containerd_has_missed_is_nudged(self):
        """A list that comes from another directory is never noticed."""
        self.host.install(cri=self.cri)
        ours = os.path.join(self.host.conf, "00-podfence.conflist")
        elsewhere = self.host.work.file("00-podfence.conflist")
        shutil.copy(ours, elsewhere)
        self.host.uninstall(cri=self.cri)
        os.rename(elsewhere, ours)
        self.assertIn("not loaded", self.check(2))
        self.assertIn("runtime: loaded by containerd", self.host.install(cri=self.cri))

    def test_a_drop_in_is_refused_by_a_runtime_that_does_not_read_it(self):
        """T10: libcni before 1.3 says nothing about it. What was installed before stays."""
        said = self.host.install("--mode", "drop-in", "--verify-seconds", "1", code=1, cri=self.cri)
        self.assertIn("drop-ins need libcni 1.3", said)
        self.assertEqual(os.listdir(self.host.conf), ["10-kbr.conflist"])
        self.host.install(cri=self.cri)
        self.host.install("--mode", "drop-in", "--verify-seconds", "1", code=1, cri=self.cri)
        self.assertEqual(self.host.chained(), 1)
        self.check(0)

    def test_T5_a_file_that_breaks_the_runtime_is_named(self):
        self.host.install(cri=self.cri)
        with open(os.path.join(self.host.conf, "00-broken.conf"), "w", encoding="ascii") as file:
            file.write("{")
        os.utime(os.path.join(self.host.conf, "00-broken.conf"), (0, 0))
        until(lambda: "containerd says" in self.check(2), "containerd has seen it")
        said = self.host.install(cri=self.cri)  # sorts before it now
        self.assertIn("runtime: loaded by containerd", said)
        self.assertIn("00-broken.conf: is no JSON", said)
        self.assertTrue(os.path.exists(os.path.join(self.host.conf, "00-00-podfence.conflist")))

    def test_a_runtime_that_is_away_is_not_asked(self):
        self.host.install(cri=self.cri)
        self.runtime.stop()
        said = self.host.install("-o", "json", cri=self.cri)
        self.assertTrue(json.loads(said)["runtime"].startswith("not asked: "), said)


class ManyNetworks(Runtime):
    """max_conf_num = 0: each list is a network, so a second one with ours would be a second interface."""

    most_networks = 0

    def test_R6_loaded_and_not_loaded(self):
        self.assertIn("max_conf_num is not 1", self.host.install("--verify-seconds", "1", code=2, cri=self.cri))
        self.assertIn("runtime: loaded by containerd", self.host.install("--mode", "in-place", cri=self.cri))

    test_R7_T4_a_change_that_containerd_has_missed_is_nudged = None
    test_a_drop_in_is_refused_by_a_runtime_that_does_not_read_it = None
    test_T5_a_file_that_breaks_the_runtime_is_named = None
    test_a_runtime_that_is_away_is_not_asked = None


if __name__ == "__main__":
    install_test.main()
