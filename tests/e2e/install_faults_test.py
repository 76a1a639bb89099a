#!/usr/bin/env python3
"""The installer is killed, or refused, at each of its system calls; disks are full or read-only. Afterwards the pod
network works, and the next run does what this one was for. install_faults_test.py --program P --plugin P"""
import json
import os
import re
import subprocess

import install_test
from install_host import node
from install_test import Case, unittest

# What changes files, or comes shortly before: openat also for the temporary files.
CALLS = ("openat", "write", "fchmod", "fchown", "fsync", "renameat", "unlinkat", "mkdir")
ERRORS = {"openat": "EMFILE", "write": "ENOSPC", "fchmod": "EPERM", "fchown": "EPERM", "fsync": "EIO", "renameat": "EROFS",
          "unlinkat": "EROFS", "mkdir": "ENOSPC"}  # fmt: skip


class Faults(Case):
    def faults(self, command):
        """For each call: its turns from the lock on at which to be killed or refused. What only opens a file to read it
        is refused, but not killed there: that is the same as at the next call that changes something."""
        done = subprocess.run(["strace", "-e", "trace=flock," + ",".join(CALLS), *command], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr[-2000:])
        seen, locked, faults = dict.fromkeys(CALLS, 0), False, []
        for line in done.stderr.splitlines():
            name = line.split("(")[0]
            locked = locked or name == "flock"
            if name not in seen:
                continue
            seen[name] += 1
            if locked:
                faults.append((name, seen[name], f"error={ERRORS[name]}"))
            if locked and (name != "openat" or "O_CREAT" in line):
                faults.append((name, seen[name], "signal=KILL"))
        return faults

    def assert_the_network_works(self, where, least):
        for name in os.listdir(self.host.conf):
            path = os.path.join(self.host.conf, name)
            if name.endswith((".conf", ".conflist", ".json")):
                with open(path, encoding="utf-8") as file:
                    json.load(file)
        if os.path.exists(os.path.join(self.host.bin, "podfence-cni")):
            self.assertIn(self.binary(), self.programs, f"{where}: a half-written program")
        self.number += 1
        entries = self.host.live(f"pod{self.number}")  # raises when a program is missing or an ADD fails
        self.assertGreaterEqual(entries, least, f"{where}: a pod without the plugin")

    def each_call(self, prepare, command, least, afterwards):
        """Runs the command from the state that `prepare` makes, once for each system call, killed or refused there."""
        self.number, tried = getattr(self, "number", 0), 0
        prepare()
        self.host.run(*command)  # the first one finds no state, and makes other calls
        prepare()
        faults = self.faults(command)
        for name, turn, how in faults:
            where = f"{name} {turn}, {how}"
            prepare()
            inject = ["strace", "-o", "/dev/null", "-e", f"trace={name}", "-e", f"inject={name}:{how}:when={turn}"]
            done = subprocess.run([*inject, *command], capture_output=True, text=True, timeout=60)
            if how == "signal=KILL":
                self.assertEqual(done.returncode, -9, where)
            elif done.returncode not in (0, 1) or (done.returncode == 1 and not re.search(r"podfence: .*/", done.stderr)):
                self.fail(f"{where}: ended with {done.returncode}: {done.stderr}")
            self.assert_the_network_works(where, least)
            self.host.run(*command)
            afterwards(where)
            tried += 1
        print(f"{tried} faults at {', '.join(sorted({name for name, _, _ in faults}))}")
        self.assertGreater(tried, 20)

    def fresh(self):
        self.host.uninstall("--purge", drain="0")
        self.host.write_network()
        os.utime(os.path.join(self.host.conf, "10-kbr.conflist"), (0, 0))

    def assert_installed(self, where):
        self.assertEqual(self.host.chained(), 1, where)
        for directory in (self.host.conf, self.host.bin):
            self.assertFalse([name for name in os.listdir(directory) if name.startswith(".")], f"{where}: leftovers")

    def assert_removed(self, where):
        self.assertEqual(os.listdir(self.host.conf), ["10-kbr.conflist"], where)
        self.assertEqual(self.host.read(), self.host.network(), where)
        self.assertNotIn("podfence-cni", os.listdir(self.host.bin), where)

    def setUp(self):
        super().setUp()
        self.next = self.other_plugin()
        self.programs = []
        for path in (install_test.PLUGIN, self.next):
            with open(path, "rb") as file:
                self.programs.append(file.read())

    def install_command(self, mode, plugin=None):
        return self.host.installing("--cri-socket", "none", "--mode", mode, plugin=plugin, wait="0")

    def test_R4_R5_a_first_installation(self):
        for mode in ("own", "in-place"):
            with self.subTest(mode):
                self.each_call(self.fresh, self.install_command(mode), 0, self.assert_installed)

    def test_R5_an_upgrade_into_another_mode(self):
        def prepare():
            self.fresh()
            self.host.run(*self.install_command("own"))

        self.each_call(prepare, self.install_command("in-place", self.next), 1, self.assert_installed)

    def test_R10_an_uninstallation(self):
        def prepare():
            self.fresh()
            self.host.run(*self.install_command("in-place"))

        command = self.host.command("uninstall-cni", "--cri-socket", "none", "--purge", "--drain-seconds", "0", wait="0")
        self.each_call(prepare, command, 0, self.assert_removed)


class Disks(Case):
    def mount(self, path, options):
        """A file system of its own with what was there."""
        kept = {}
        for name in os.listdir(path):
            with open(os.path.join(path, name), "rb") as file:
                kept[name] = file.read()
        node.run("mount", "-t", "tmpfs", "-o", options, "none", path)
        self.addCleanup(node.run, "umount", path)
        for name, content in kept.items():
            with open(os.path.join(path, name), "wb") as file:
                file.write(content)
            os.chmod(os.path.join(path, name), 0o755)

    def fill(self, path):
        with open(os.path.join(path, "filler"), "wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * 4096)
            except OSError:
                pass

    def assert_refused(self, says, mode="own"):
        before = {name: self.host.read(name) for name in os.listdir(self.host.conf) if name != "filler"}
        said = self.host.install("--mode", mode, code=1, wait="0")
        self.assertRegex(said, says)
        self.assertEqual({name: self.host.read(name) for name in os.listdir(self.host.conf) if name != "filler"}, before)
        self.host.live(f"pod-{mode}")

    def test_a_full_disk_for_lists(self):
        self.mount(self.host.conf, "size=16k")
        self.fill(self.host.conf)
        self.assert_refused("net.d/00-podfence.conflist: No space left on device")
        self.assert_refused("net.d/10-kbr.conflist: No space left on device", "in-place")
        os.remove(os.path.join(self.host.conf, "filler"))
        self.host.install()
        self.assertEqual(self.host.live("after"), 1)

    def test_a_full_disk_for_programs(self):
        self.mount(self.host.bin, "size=32m")
        self.fill(self.host.bin)
        self.assert_refused("opt/podfence-cni: No space left on device")
        self.assertNotIn("podfence-cni", os.listdir(self.host.bin))

    def test_a_full_disk_for_the_state(self):
        os.mkdir(self.host.state)
        self.mount(self.host.state, "size=4k")
        self.fill(self.host.state)
        self.assert_refused("cni-install.json: No space left on device")

    def test_read_only(self):
        for path, says in ((self.host.bin, "opt/podfence-cni: Read-only"), (self.host.conf, "net.d/.*: Read-only")):
            with self.subTest(path):
                node.run("mount", "--bind", path, path)
                node.run("mount", "-o", "remount,bind,ro", path)
                try:
                    self.assert_refused(says, "in-place" if path == self.host.bin else "own")
                finally:
                    node.run("umount", path)


if __name__ == "__main__":
    install_test.main()
