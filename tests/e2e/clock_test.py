#!/usr/bin/env python3
"""The node's clock is set an hour forward, and two hours back, under an agent at work. Only the agent's view of it jumps
(libfaketime); the kernel goes on to stamp packets with the time that it was, which is worse than a clock that is set:
the two never agree again. Which policy is named then is shown in tests/enforcer/flow/enrich_test.cpp.
Usage: clock_test.py PODFENCE [-v]

Fault: C14.
"""
import datetime
import os
import subprocess
import sys
import time
import unittest

from kube_case import KubeCase
from node import policy

HOUR = 3600


def library():
    listed = subprocess.run(["dpkg", "-L", "libfaketime"], check=True, text=True, stdout=subprocess.PIPE).stdout
    return next(line for line in listed.splitlines() if line.endswith("/libfaketime.so.1"))


class ClockTest(KubeCase):
    def setUp(self):
        super().setUp()
        self.offset = os.path.join(self.node.directory, "offset")
        self.set_clock(0)
        self.wrap(f"export LD_PRELOAD={library()} FAKETIME_TIMESTAMP_FILE={self.offset} FAKETIME_NO_CACHE=1"
                  " FAKETIME_DONT_FAKE_MONOTONIC=1")

    def set_clock(self, seconds):
        with open(self.offset + ".tmp", "w", encoding="utf-8") as out:
            out.write(f"{seconds:+d}\n")
        os.rename(self.offset + ".tmp", self.offset)

    def denied(self):
        return sum(n for name, n in self.node.counters().items() if not name.startswith("over_"))

    def accounted(self):
        return sum(r["count"] for r in self.node.records()) + sum(r["lost"] for r in self.node.records("loss"))

    def expect_exact(self):
        self.node.until(lambda: self.accounted() == self.denied(), "records + stated losses == the kernel's counters", 60)

    def work(self):
        """Everything goes on: verdicts, changes, records, and what status says."""
        self.assert_judged()
        before = self.accounted()
        self.api.put(policy("open-db", "shop", {"app": "db"}, ingress=[{}]))
        self.wait_for(self.client, self.db, True)
        self.api.delete(policy("open-db", "shop", {"app": "db"}))
        self.wait_for(self.client, self.db, False)
        self.node.until(lambda: self.accounted() > before, "a record is written", 60)
        self.expect_exact()
        self.assertEqual(self.node.status()["state"], "enforcing")

    def test_it_is_set_forward_and_back(self):
        self.start_agent()
        self.work()
        for offset in (HOUR, -HOUR, 0):
            self.set_clock(offset)
            self.work()
            observed = datetime.datetime.fromisoformat(self.node.records()[-1]["observed"]).timestamp()
            self.assertLess(abs(observed - time.time() - offset), 120, "the agent's clock was set")
        writes = self.checkpoint()["writes"]
        self.api.put(policy("another", "people", policyTypes=["Egress"], egress=[{}]))
        self.until_written(writes + 1)


if __name__ == "__main__":
    KubeCase.PODFENCE = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
