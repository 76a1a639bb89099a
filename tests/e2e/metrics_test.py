#!/usr/bin/env python3
"""What Prometheus gets: the pages of a real agent, promtool, a real Prometheus that scrapes it, our rules and dashboard.
Usage: metrics_test.py PODFENCE [-v]
"""
import json
import os
import re
import signal
import socket
import subprocess
import sys
import unittest
import urllib.parse

from node import PAGES as AGENT, Node, get, inside, namespace, node_object, policy, run

PODFENCE = None
MONITORING = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "deploy", "monitoring")
PROMETHEUS = "127.0.0.1:9090"


class MetricsTest(unittest.TestCase):
    def setUp(self):
        self.node = Node(PODFENCE)
        self.addCleanup(self.node.close)
        self.web = self.node.add_pod("web", "shop", app="web")
        self.client = self.node.add_pod("client", "people", app="client")
        self.node.write_world()
        self.node.write("policies.json", policy("deny-all", "shop", policyTypes=["Ingress"]))
        self.server = self.node.listen(self.web, 8080)
        self.addCleanup(self.server.close)

    def page(self, path):
        return get(self.node, AGENT, path)

    def value(self, sample):
        for line in self.page("/metrics")[2].splitlines():
            if line.startswith(sample + " "):
                return float(line.split(" ")[-1])
        self.fail(f"no sample {sample}")

    def deny_some(self, times):
        for _ in range(times):
            self.assertFalse(self.node.reaches(self.client.netns, self.web.v4, 8080, 0.1))

    def test_pages(self):
        self.node.start_agent()
        self.assertEqual(self.page("/livez"), (200, "text/plain; charset=utf-8", "ok\n"))
        self.assertEqual(self.page("/readyz")[0], 200)
        status, kind, body = self.page("/statusz")
        self.assertEqual((status, kind, json.loads(body)["state"]), (200, "application/json", "enforcing"))
        self.assertEqual(self.page("/metrics")[1], "text/plain; version=0.0.4; charset=utf-8")
        self.assertEqual(self.page("/nothing")[0], 404)
        self.assertIn("127.0.0.1:19436", self.node.exec("ss", "-ltnH").stdout, "on the loopback address only")
        self.assertNotIn("*:19436", self.node.exec("ss", "-ltnH").stdout)

    def test_not_ready_before_the_source_is_read(self):
        os.rename(self.node.objects, self.node.objects + ".away")
        with open(os.path.join(self.node.directory, "agent.log"), "a", encoding="utf-8") as log:
            self.node.agent = subprocess.Popen(
                ["ip", "netns", "exec", self.node.netns, PODFENCE, "agent", "--source", f"dir:{self.node.objects}",
                 "--node", "node-a", "--socket", self.node.socket, "--state-dir", self.node.state, "--flow-log",
                 self.node.flow_log], stdout=log, stderr=log)
        self.node.until(lambda: self.node.exec("ss", "-ltnH").stdout.count("19436"), "the pages are there")
        self.assertEqual((self.page("/livez")[0], self.page("/readyz")[0]), (200, 503))
        os.rename(self.node.objects + ".away", self.node.objects)
        self.node.until(lambda: self.page("/readyz")[0] == 200, "ready")

    def test_a_taken_address_stops_no_enforcement(self):
        with inside(self.node.netns):
            squatter = socket.socket()
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", 19436))
        squatter.listen()
        self.node.start_agent()
        self.deny_some(1)
        self.assertIn("127.0.0.1 port 19436", self.node.status()["http"]["error"])
        squatter.close()
        self.node.until(lambda: "error" not in self.node.status()["http"], "the address is had in the end")
        self.assertEqual(self.page("/livez")[0], 200)

    def test_counters_are_the_kernels_and_outlive_the_agent(self):
        sample = 'podfence_denied_packets_total{direction="ingress",reason="default_deny"}'
        self.node.start_agent()
        self.deny_some(3)
        self.node.until(lambda: self.value(sample) == self.node.counters()["denied_in"] >= 3, "the counter is shown")
        before = self.value(sample)
        self.node.end_agent(signal.SIGKILL)
        self.deny_some(2)
        self.node.exec("nft", "delete", "table", "inet", "podfence")
        self.node.start_agent()
        self.deny_some(2)
        self.node.until(lambda: self.value(sample) >= before + 2, "it goes on")

    def test_a_real_prometheus_scrapes_it(self):
        with open(os.path.join(self.node.state, "cni-install.json"), "w", encoding="utf-8") as out:
            json.dump({"state": "installed", "mode": "own", "updated": "2026-11-24T00:00:00Z"}, out)
        marked = {"podfence.io/observe": "true"}
        self.node.write("world.json", node_object(), namespace("shop", **marked), namespace("people"),
                        *[pod.manifest() for pod in self.node.pods.values()])
        self.node.start_agent()
        self.assertEqual((self.value("podfence_observed_addresses"), self.value("podfence_observed_up")), (2, 1))
        self.deny_some(2)
        # Flows are put together for a while, and then written.
        self.node.until(lambda: self.value("podfence_flow_delay_seconds_count") > 0, "a record is written", 60)
        self.assertEqual(self.value('podfence_flow_delay_seconds_bucket{le="2.5"}'), 0)
        self.assertGreaterEqual(self.value("podfence_flow_delay_seconds_sum"), 5)
        page = self.page("/metrics")[2]
        checked = run("promtool", "check", "metrics", input=page, check=False)
        self.assertEqual((checked.returncode, checked.stdout.strip()), (0, ""))
        for command in (("check", "rules", "rules.yaml"), ("test", "rules", "rules_test.yaml")):
            answer = run("promtool", *command, check=False, cwd=MONITORING)
            self.assertEqual(answer.returncode, 0, answer.stdout)
        config = os.path.join(self.node.directory, "prometheus.yaml")
        with open(config, "w", encoding="utf-8") as out:
            json.dump({"global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                       "rule_files": [os.path.join(MONITORING, "rules.yaml")],
                       "scrape_configs": [{"job_name": "podfence", "static_configs": [{"targets": [AGENT]}]}]}, out)
        with open(os.path.join(self.node.directory, "prometheus.log"), "w", encoding="utf-8") as log:
            prometheus = subprocess.Popen(
                ["ip", "netns", "exec", self.node.netns, "prometheus", f"--config.file={config}",
                 f"--storage.tsdb.path={self.node.directory}/tsdb", f"--web.listen-address={PROMETHEUS}"],
                stdout=log, stderr=log)
        self.addCleanup(prometheus.wait)
        self.addCleanup(prometheus.terminate)
        self.node.until(lambda: self.query("up") == ["1"], "it is up", 30)
        self.node.until(lambda: self.query('sum(podfence_denied_packets_total)') not in ([], ["0"]), "denied packets", 30)
        self.assertEqual(self.query('podfence_state{state="enforcing"}'), ["1"])
        for expression in self.expressions():
            self.query(expression)  # an expression that does not parse is an error
            for name in re.findall(r"\b(?:podfence|process)_[a-z_]+", expression):
                self.assertIn(f"# TYPE {re.sub('_bucket$', '', name)} ", page, f"in {expression}")
        names = {rule["name"]: rule for group in self.ask("rules")["groups"] for rule in group["rules"]}
        self.assertGreaterEqual(len(names), 8)
        self.node.until(lambda: all(rule["health"] == "ok" for group in self.ask("rules")["groups"]
                                    for rule in group["rules"]), "all rules evaluate", 30)

    def ask(self, path, **arguments):
        try:
            status, _, body = get(self.node, PROMETHEUS, f"/api/v1/{path}?" + urllib.parse.urlencode(arguments))
        except OSError:
            return {"result": [], "groups": []}
        self.assertIn(status, (200, 503), body)
        return json.loads(body)["data"] if status == 200 else {"result": [], "groups": []}

    def query(self, expression):
        return [sample["value"][1] for sample in self.ask("query", query=expression)["result"]]

    def expressions(self):
        with open(os.path.join(MONITORING, "dashboard.json"), encoding="utf-8") as file:
            dashboard = json.load(file)
        found = [t["expr"] for panel in dashboard["panels"] for t in panel["targets"]]
        found += [a["expr"] for a in dashboard["annotations"]["list"]]
        self.assertGreater(len(found), 15)
        with open(os.path.join(MONITORING, "rules.yaml"), encoding="utf-8") as file:
            text = file.read()
        found += [e.strip() for e in re.findall(r"expr: ([^|\n]+)\n", text)]
        for name, value in (("$instance", ".*"), ("$__range", "1h"), ("$__rate_interval", "1m")):
            found = [e.replace(name, value) for e in found]
        return found


if __name__ == "__main__":
    PODFENCE = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
