#!/usr/bin/env python3
"""records + stated losses == the kernel's counters, exactly, while a real agent is flooded: with a reader that stops,
that is killed, with every set full, with a disk that is full. Prints the rates and the agent's CPU.
Usage: flood_test.py PODFENCE FLOOD_SENDER [-v]; PODFENCE_FLOOD_SECONDS (2): the length of a flood."""
import collections
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
import unittest

from node import LIBC, Node, policy

PODFENCE = None
SENDER = None
SECONDS = float(os.environ.get("PODFENCE_FLOOD_SECONDS", "2"))
CLONE_NEWNS, MS_REMOUNT, MS_REC, MS_PRIVATE, MNT_DETACH = 0x20000, 32, 16384, 1 << 18, 2


def cpu_seconds(pid):
    """User and system time that the process used so far."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def mount(directory, options):
    flags = MS_REMOUNT if options.startswith("remount") else 0
    data = options.removeprefix("remount,").encode()
    if LIBC.mount(b"podfence", directory.encode(), b"tmpfs", flags, data) != 0:
        raise OSError(ctypes.get_errno(), f"mount {directory}")


def unmount(directory):
    LIBC.umount2(directory.encode(), MNT_DETACH)


class FloodTest(unittest.TestCase):
    def setUp(self):
        self.node = Node(PODFENCE)
        self.addCleanup(self.node.close)
        self.web = self.node.add_pod("web", "shop", app="web")
        self.node.ip(self.node.netns, f"route add 10.1.0.0/24 dev {self.web.veth}")  # also what is no pod's
        self.node.write_world()
        self.node.write("policies.json", policy("deny-all", "shop", policyTypes=["Ingress"]))
        self.floods = []

    def tearDown(self):
        for flood in self.floods:
            if flood.poll() is None:
                flood.kill()
            flood.communicate()

    def begin_flood(self, way="random", seconds=600.0):
        mac = json.loads(self.node.ip(self.node.netns, "-j link show uplink").stdout)[0]["address"]
        flood = subprocess.Popen(
            ["ip", "netns", "exec", self.node.outside, SENDER, "eth0", mac, self.web.v4, str(seconds), way],
            stdout=subprocess.PIPE, text=True)
        self.floods.append(flood)
        return flood

    def end_flood(self, flood):
        """(packets that were sent, packets per second)"""
        flood.send_signal(signal.SIGTERM)
        sent, took_us = map(int, flood.communicate(timeout=60)[0].split())
        return sent, sent / max(took_us, 1) * 1e6

    def denied(self):
        counters = self.node.counters()
        return sum(packets for name, packets in counters.items() if not name.startswith("over_"))

    def flows_status(self):
        """Of the agent; of one that does not answer in time, as of one that has done nothing."""
        nothing = {"write_error": "", "lost_by_stage": {}, "lines_written": 0, "recorded": -1, "lost": 0}
        return {**nothing, **self.node.status().get("flows", {})}

    def files(self):
        """The files of the log, the oldest first."""
        directory = os.path.join(os.path.dirname(self.node.flow_log), "rotated")
        rotated = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
        every = [os.path.join(directory, name) for name in rotated] + [self.node.flow_log]
        return [path for path in every if os.path.exists(path)]

    def lines(self):
        for path in self.files():
            with open(path, encoding="utf-8") as log:
                for line in log:
                    if not line.endswith("\n"):
                        break  # it is being written
                    yield json.loads(line)

    def recorded(self):
        """Whether a record of a flow is there."""
        return any(line["type"] == "flow" for line in self.lines())

    def sums(self):
        """(packets in records, packets by stage of loss)"""
        recorded, lost = 0, collections.Counter()
        for line in self.lines():
            if line["type"] == "flow" and line["verdict"] == "deny":
                recorded += line["count"]
            elif line["type"] == "loss":
                self.assertTrue(line["exact"], line)
                lost[line["stage"]] += line["lost"]
        return recorded, lost

    def expect_exact(self):
        """Waits until what is on its way has arrived, and compares."""
        def settled():
            recorded, lost = self.sums()
            accounted = recorded + sum(lost.values())
            self.assertLessEqual(accounted, self.denied(), "never more than there was")
            return accounted == self.denied()
        self.node.until(settled, "records + stated losses == the kernel's counters", 60)
        recorded, lost = self.sums()
        counters = self.node.counters()
        self.assertEqual(lost["kernel_limit"], sum(n for name, n in counters.items() if name.startswith("over_")))
        self.assertEqual(recorded + sum(lost.values()), self.denied())
        return recorded, lost

    def expect_no_storm_of_losses(self):
        """One loss record for each stage and window, in each life of the agent."""
        ends = {}
        for line in self.lines():
            if line["type"] == "agent" and line["event"] in ("start", "stop"):
                ends = {}
            if line["type"] != "loss":
                continue
            before = ends.get(line["stage"])
            self.assertTrue(before is None or line["time"] >= before, f"two losses of one window: {line}")
            ends[line["stage"]] = line["end"]

    def say(self, name, sent, rate, recorded, lost):
        denied = self.denied()
        print(f"\n  {name}: offered {rate:,.0f}/s, of {sent:,} the kernel denied {denied / max(sent, 1):.1%}: {denied:,} = {recorded:,} in records + "
              + " + ".join(f"{n:,} {stage}" for stage, n in sorted(lost.items())), flush=True)

    def test_a_flood_is_accounted_and_costs_the_agent_little(self):
        self.node.start_agent()
        pid = self.node.agent.pid
        flood = self.begin_flood()
        self.node.until(self.recorded, "records are written", 60)
        before, begin = cpu_seconds(pid), time.monotonic()
        time.sleep(max(SECONDS, 2))  # what is measured, not what is waited for
        share = (cpu_seconds(pid) - before) / (time.monotonic() - begin)
        sent, rate = self.end_flood(flood)
        recorded, lost = self.expect_exact()
        self.say("random tuples", sent, rate, recorded, lost)
        print(f"  the agent's share of a core: {share:.1%}")
        self.assertGreater(recorded, 0)
        self.assertGreater(lost["kernel_limit"], recorded)
        self.expect_no_storm_of_losses()

    def test_full_sets_queues_and_disks_leave_nothing_uncounted(self):
        disk = os.path.join(self.node.directory, "disk")
        os.mkdir(disk)
        mount(disk, "size=1m")
        self.addCleanup(unmount, disk)
        self.node.flow_log = os.path.join(disk, "flows.jsonl")
        self.node.start_agent("--log-node-rate", "20000")
        flood = self.begin_flood("spread")
        self.node.until(lambda: self.flows_status().get("write_error"), "the disk is full", 300)
        self.node.until(lambda: self.flows_status()["lost_by_stage"].get("sink:file"), "the queue is full", 300)

        def sources_are_full():
            listed = json.loads(self.node.exec("nft", "-j", "list", "set", "inet", "podfence", "sources_in4").stdout)
            known = next(s["set"] for s in listed["nftables"] if "set" in s)
            return len(known.get("elem", [])) == known["size"]
        self.node.until(sources_are_full, "the sources fill their set", 300)
        sent, rate = self.end_flood(flood)
        mount(disk, "remount,size=512m")
        recorded, lost = self.expect_exact()
        self.say("full disk", sent, rate, recorded, lost)
        self.assertGreater(lost["sink:file"], 0)
        self.expect_no_storm_of_losses()

    def test_a_scan_of_every_port_is_a_few_records_and_one_detection(self):
        self.node.start_agent("--log-node-rate", "200000", "--log-source-rate", "200000")
        flood = self.begin_flood("scan")
        self.node.until(lambda: self.denied() > 65_535, "every port was tried", 60)
        sent, rate = self.end_flood(flood)
        recorded, lost = self.expect_exact()
        self.say("every port", sent, rate, recorded, lost)
        scans = [line for line in self.lines() if "scan" in line]
        self.assertLess(sum(1 for line in self.lines() if line["type"] == "flow"), 100)
        self.assertGreater(sum(line["scan"]["distinct_ports"] for line in scans), 1000, scans)
        self.assertEqual({line["detection"] for line in self.lines() if line["type"] == "detection"}, {"port_scan"})

    def test_the_quota_of_the_log_deletes_lines_and_no_counts(self):
        self.node.start_agent("--log-node-rate", "20000", "--flow-log-file-mb", "1", "--flow-log-total-mb", "3")
        flood = self.begin_flood("spread")
        self.node.until(lambda: self.flows_status()["lines_written"] > 15_000, "more lines than the quota holds", 60)
        sent, rate = self.end_flood(flood)

        def settled():
            flows = self.flows_status()
            return flows["recorded"] + flows["lost"] == self.denied()
        self.node.until(settled, "records + stated losses == the kernel's counters", 60)
        recorded, lost = self.sums()
        self.assertLess(recorded + sum(lost.values()), self.denied(), "the oldest lines are gone")
        size = sum(os.path.getsize(path) for path in self.files())
        self.assertLessEqual(size, 4 << 20, "the quota, and a file that is being filled")
        self.node.end_agent()
        with open(os.path.join(self.node.state, "flow-account.json"), encoding="utf-8") as account:
            written = json.load(account)
        self.assertEqual(written["logged"] + written["limited"], self.denied())
        print(f"\n  quota: offered {rate:,.0f}/s, {size:,} bytes kept of {written['logged']:,} packets", flush=True)

    def test_a_reader_that_stops_and_is_killed_loses_no_count(self):
        self.node.start_agent()
        flood = self.begin_flood()
        self.node.until(self.recorded, "a record", 60)
        self.node.agent.send_signal(signal.SIGSTOP)
        time.sleep(5)  # as the promise says
        self.node.agent.send_signal(signal.SIGCONT)
        time.sleep(SECONDS / 2)
        self.node.end_agent(signal.SIGKILL)
        time.sleep(SECONDS / 2)  # nobody listens
        self.node.start_agent()
        time.sleep(SECONDS / 2)
        sent, rate = self.end_flood(flood)
        recorded, lost = self.expect_exact()
        self.say("stopped, killed", sent, rate, recorded, lost)
        self.assertGreater(lost["nflog_tail"] + lost["nflog_seq_gap"], 0, "nobody listened for a while")
        self.expect_no_storm_of_losses()


if __name__ == "__main__":
    PODFENCE = os.path.abspath(sys.argv.pop(1))
    SENDER = os.path.abspath(sys.argv.pop(1))
    if LIBC.unshare(CLONE_NEWNS) != 0 or LIBC.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) != 0:
        raise OSError(ctypes.get_errno(), "a mount namespace of its own")
    unittest.main(verbosity=2)
