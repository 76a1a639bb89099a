#!/usr/bin/env python3
"""A node that starts before the API server answers: it enforces the last good world. A real process, real nftables, real
packets, and a scripted API server. Usage: checkpoint_test.py PODFENCE [-v]

List/watch rows: B3 L11; faults: C4 C6 C12 C13 C16; conformance R-08 D-24 V-11.
"""
import os
import re
import signal
import sys
import threading
import time
import unittest

from api_server import Answer, status
from cni_node import Sandbox
from kube_case import POLICIES, KubeCase
from metrics_test import AGENT, get
from node import namespace, node_object, run



class CheckpointTest(KubeCase):
    # Enforcing from it -------------------------------------------------------------------------------------------

    def test_a_rebooted_node_enforces_before_the_server_answers(self):  # B3
        self.learn()
        self.assertEqual(os.stat(self.file).st_mode & 0o777, 0o600)
        self.reboot()
        self.assertTrue(self.reach(self.client, self.db), "nothing enforces")
        self.start_agent()
        self.assert_judged()
        shown = self.node.status()
        self.assertEqual((shown["state"], shown["fail_static"]), ("degraded", True))
        self.assertTrue(shown["checkpoint"]["enforced"])
        self.assertGreater(shown["checkpoint"]["age_seconds"], 0)
        self.assertRegex(self.node.podfence("status", "--socket", self.node.socket).stdout, "CHECKPOINT of .* is enforced")
        self.assertEqual(get(self.node, AGENT, "/readyz")[0], 200)
        self.assertEqual((self.metric("podfence_fail_static"), self.metric("podfence_checkpoint_enforced")), (1, 1))
        self.assertGreater(self.metric("podfence_checkpoint_age_seconds"), 0)

    def test_many_nodes_do_not_ask_at_once(self):  # B3
        self.api.put(*[node_object(f"node-{i}", (f"10.9.{i}.0/24",)) for i in range(200)])
        self.learn()
        asked, before = [], self.agent_pauses()
        self.node.end_agent(signal.SIGKILL)
        self.api.fault = lambda path, query: asked.append(time.monotonic())
        started = time.monotonic()
        self.start_agent()
        self.node.until(lambda: not self.checkpoint()["enforced"], "the server has said everything", 60)
        self.assertEqual(before, [0], "without a checkpoint there is a hurry")
        pause = self.agent_pauses()[-1]
        self.assertLessEqual(pause, 2010)
        self.assertGreaterEqual(asked[0] - started, pause / 1000)

    def agent_pauses(self):
        return [int(ms) for ms in re.findall(r"event=kubernetes_source .* after_ms=(\d+)", self.node.agent_log())]

    def test_the_server_comes_with_another_world(self):
        """A policy less and a pod less: in one step, without a wrong packet, and a connection goes on."""
        self.learn()
        self.reboot()
        self.start_agent()
        held = self.node.connect(self.client.netns, self.web.v4, 8080)
        self.addCleanup(held.close)
        commits = self.node.status()["commits"]["count"]
        self.api.delete(self.deny_all())  # web stays isolated by the other one
        self.api.delete(self.db.manifest())
        wrong, done = [], threading.Event()

        def probe():
            while not done.is_set():
                if not self.reach(self.client, self.web, 2):
                    wrong.append("client -> web was dropped")
                if self.reach(self.db, self.web, 0.1):
                    wrong.append("db -> web passed")
        thread = threading.Thread(target=probe)
        thread.start()
        try:
            self.api.start()
            self.node.until(lambda: not self.checkpoint()["enforced"], "the server has said everything", 60)
            self.node.until(lambda: self.node.status()["state"] == "enforcing", "all is well", 60)
        finally:
            done.set()
            thread.join()
        self.assertEqual(wrong, [])
        shown = self.node.status()
        self.assertEqual((shown["commits"]["count"], shown["counts"]["pods"]), (commits + 1, 2))
        self.assertEqual([p["policy"] for p in shown["policies"]], ["allow-web"])
        held.sendall(b"x")
        self.node.until(lambda: not self.unacknowledged(held), "the connection goes on", 30)
        self.until_written()

    @staticmethod
    def unacknowledged(connection):
        import fcntl, struct, termios  # noqa: E401
        return struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, struct.pack("i", 0)))[0]

    def test_of_an_unchanged_world_nothing_is_written(self):
        self.learn()
        before = self.rules()
        self.node.end_agent(signal.SIGKILL)
        self.api.kill()
        self.start_agent()
        self.assertEqual(self.node.status()["commits"]["last_operations"], 0)
        self.api.start()
        self.node.until(lambda: self.node.status()["state"] == "enforcing", "the server has said everything", 60)
        self.assertEqual(self.node.status()["commits"]["count"], 0)
        self.assertEqual(self.rules(), before)

    def test_half_of_what_the_server_says_is_not_mixed_in(self):  # L11, C12, C13, R-08
        self.learn()
        before = self.rules()
        self.node.end_agent(signal.SIGKILL)
        self.api.delete(self.web.manifest())
        self.api.put(namespace("people", team="others"))
        for refused in (Answer(403, status(403, "Forbidden", "no")), Answer(404, "404 page not found")):
            self.api.fault = lambda path, query, refused=refused: refused if path == POLICIES else None
            self.start_agent()
            self.node.until(lambda: sum(t["synced"] for t in self.node.status()["kubernetes"]) == 3, "half is known", 60)
            self.assertEqual(self.rules(), before)
            self.assertTrue(self.checkpoint()["enforced"])
            self.node.end_agent(signal.SIGKILL)
        self.api.fault = lambda path, query: None
        self.start_agent()
        self.wait_for(self.client, self.web, False)

    def test_a_server_that_is_swallowed_by_the_network(self):  # C6
        self.learn()
        self.node.end_agent(signal.SIGKILL)
        self.api.delete(self.allow_web())
        self.node.exec("nft", f"table inet hole {{ chain o {{ type filter hook output priority 0; "
                       f"tcp dport {self.api.port} drop; }}; }}")
        self.start_agent()
        self.assert_judged()
        self.node.exec("nft", "delete", "table", "inet", "hole")
        self.wait_for(self.client, self.web, False)

    def test_another_cluster_replaces_it(self):  # C4
        self.learn()
        self.reboot()
        self.start_agent()
        self.assert_judged()
        other = namespace("kube-system")
        other["metadata"]["uid"] = "another-cluster"
        self.api.restore([node_object(), other, namespace("shop", team="shop"), namespace("people", team="people"),
                          *[p.manifest() for p in (self.web, self.db, self.client)]], 50)
        self.api.start()
        self.wait_for(self.client, self.db, True)
        self.assertIn("event=checkpoint_of_another_cluster", self.node.agent_log())

    def test_an_object_keeps_its_last_good_content_across_a_restart(self):  # V-11, D-24
        self.learn()
        self.api.put(self.allow_web(port=99999))
        self.node.until(lambda: self.node.status()["files"], "the object has errors", 60)
        self.reboot()
        self.start_agent()
        self.assert_judged()
        self.api.start()
        self.node.until(lambda: not self.checkpoint()["enforced"], "the server has said everything", 60)
        self.assert_judged()
        problem, = self.node.status()["files"]
        self.assertEqual((problem["file"], problem["last_good_content"]), ("NetworkPolicy shop/allow-web", True))
        self.api.put(self.allow_web(port=88888))
        self.api.put(namespace("late"))
        self.node.until(lambda: any(t["objects"] == 4 for t in self.node.status()["kubernetes"]), "news come", 60)
        self.assert_judged()
        self.api.put(self.allow_web(port=8081))
        self.wait_for(self.client, self.web, False)
        self.assertEqual(self.node.status()["files"], [])

    # Not enforcing from it ---------------------------------------------------------------------------------------

    def test_what_cannot_be_used_changes_nothing(self):
        self.learn()
        before = self.rules()
        with open(self.file, "rb") as file:
            good = file.read()
        self.node.end_agent(signal.SIGKILL)
        self.api.kill()
        flipped, newer = bytearray(good), bytearray(good)
        flipped[len(good) // 2] ^= 4
        newer[8] += 1
        for content, words in ((bytes(flipped), "damaged"), (bytes(newer), "format 2"), (good[:-1], "cut short"),
                               (b"", "no checkpoint"), (good.replace(b"node-a", b"node-b"), "damaged")):
            with open(self.file, "wb") as file:
                file.write(content)
            self.start_agent(enforces=False)
            shown = self.node.status()
            self.assertIn(words, shown["checkpoint"]["ignored"])
            self.assertEqual(shown["state"], "starting")
            self.assertEqual(self.metric("podfence_checkpoint_rejected_total"), 1)
            self.assertEqual(get(self.node, AGENT, "/readyz")[0], 503)
            self.assertEqual(self.rules(), before)
            self.node.end_agent(signal.SIGKILL)
        self.start_agent(enforces=False)
        self.api.start()
        self.node.until(lambda: self.node.status()["state"] == "enforcing", "the server has said everything", 60)
        self.assertIn("event=checkpoint_ignored", self.node.agent_log())
        self.until_written()

    def test_that_of_another_node_is_ignored(self):
        self.learn()
        self.reboot()
        self.wrap('for a; do [ "$a" = node-a ] && a=node-b; set -- "$@" "$a"; shift; done')
        self.start_agent(enforces=False)
        self.assertIn("is of node 'node-a'", self.checkpoint()["ignored"])

    def test_what_was_closed_since_is_not_opened_again(self):
        """The kernel's table is newer than the file: it stays as it is."""
        self.learn()
        self.api.delete(self.allow_web())
        self.wait_for(self.client, self.web, False)
        self.assertFalse(self.marked())
        self.node.end_agent(signal.SIGKILL)
        before = self.rules()
        self.api.kill()
        self.start_agent(enforces=False)
        self.assertIn("may be newer", self.checkpoint()["ignored"])
        self.assertEqual(self.rules(), before)
        self.assertFalse(self.reach(self.client, self.web))
        self.api.start()
        self.until_written()

    # Beside the sandboxes ----------------------------------------------------------------------------------------

    def test_the_plugin_knows_better(self):  # D-11, D-13
        """An address that is plugged in for another pod meanwhile is not the former pod's."""
        self.learn()
        self.reboot()
        self.start_agent()
        box = Sandbox(self.node, 9, self.web.v4, "stranger", v6=self.web.v6)
        self.addCleanup(box.udp.close)
        answer = self.node.ask(box.request())
        self.assertEqual((answer.get("ok"), answer.get("pod_known")), (True, False), answer)
        self.assertTrue(self.node.set_has("managed4", self.web.v4))
        self.assertFalse(self.node.set_has("known4", self.web.v4))

    def test_a_pod_that_came_after_it_is_not_cut(self):  # R-08
        """Known from the server and plugged in since the file was written: the kernel's table is newer than the file."""
        self.learn()
        box = Sandbox(self.node, 9, "10.1.0.99", "late")
        self.addCleanup(box.udp.close)
        self.api.put(box.manifest({"app": "late"}))
        self.node.until(lambda: self.node.status()["counts"]["pods"] == 4, "the server has told of it", 60)
        writes = self.checkpoint()["writes"]
        answer = self.node.ask(box.request())
        self.assertEqual((answer.get("ok"), answer.get("pod_known")), (True, True), answer)
        self.assertEqual(self.checkpoint()["writes"], writes, "within ten seconds there is no other")
        self.node.end_agent(signal.SIGKILL)
        before = self.rules()
        self.api.kill()
        self.start_agent(enforces=False)
        self.node.until(lambda: "may be newer" in self.checkpoint().get("ignored", ""), "the file is not believed", 10)
        self.assertEqual(self.rules(), before)
        self.assertTrue(self.node.set_has("known4", box.v4))
        self.api.start()
        self.until_written()

    def test_a_known_pod_is_plugged_in_after_a_reboot(self):
        """Addresses of before the boot are nobody's; those that the plugin reports are judged by the checkpoint."""
        self.learn()
        self.reboot()
        boot = os.path.join(self.node.directory, "boot")
        with open(boot, "w", encoding="ascii") as out:
            out.write("another-boot\n")
        self.wrap(f"mount --bind {boot} /proc/sys/kernel/random/boot_id")
        self.start_agent()
        self.assertFalse(self.reach(self.client, self.web), "an address of before the boot")
        box = Sandbox(self.node, 9, "10.1.0.99", "web")
        self.addCleanup(box.udp.close)
        answer = self.node.ask(box.request(pod_uid="uid-shop-web"))
        self.assertEqual((answer.get("ok"), answer.get("pod_known")), (True, True), answer)
        self.assertTrue(self.node.set_has("in_isolated4", "10.1.0.99"))
        self.api.start()
        self.wait_for(self.client, self.db, False)

    # The disk ----------------------------------------------------------------------------------------------------

    def disk(self, options):
        """The next agent's checkpoint is on a disk of its own."""
        disk = os.path.join(self.node.directory, "disk")
        os.mkdir(disk)
        self.wrap(f"mount -t tmpfs -o {options} none {disk}\ndd if=/dev/zero of={disk}/filler bs=4096 count=1 2>/dev/null")
        return disk

    def test_a_disk_that_is_full(self):  # C16
        disk = self.disk("size=4k")
        self.start_agent("--checkpoint", f"{disk}/checkpoint")
        self.node.until(lambda: self.checkpoint()["failures"] >= 2, "it is tried again", 60)
        shown = self.node.status()
        self.assertIn("No space left", shown["checkpoint"]["error"])
        self.assertEqual((shown["state"], self.metric("podfence_checkpoint_writes_total")), ("degraded", 0))
        self.assertGreaterEqual(self.metric("podfence_checkpoint_failures_total"), 2)
        self.assertEqual(self.node.agent_log().count("event=checkpoint_not_written"), 1)
        self.assert_judged()
        run("nsenter", "-t", str(self.node.agent.pid), "-m", "rm", f"{disk}/filler")
        self.node.until(lambda: self.checkpoint()["writes"] == 1, "there is room again", 60)
        self.assertEqual(self.node.status()["state"], "enforcing")

    def test_a_disk_that_cannot_be_written(self):  # C16
        disk = self.disk("ro")
        self.start_agent("--checkpoint", f"{disk}/checkpoint")
        self.node.until(lambda: "Read-only" in self.checkpoint().get("error", ""), "it is said", 60)
        self.api.delete(self.allow_web())
        self.wait_for(self.client, self.web, False)
        self.assertIn("Read-only", self.node.podfence("status", "--socket", self.node.socket).stdout)


if __name__ == "__main__":
    KubeCase.PODFENCE = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
