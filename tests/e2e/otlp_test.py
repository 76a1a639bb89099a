#!/usr/bin/env python3
"""Flow records on their way to an OTLP receiver: a scripted one, and a real OpenTelemetry Collector.
Usage: otlp_test.py PODFENCE COLLECTOR [-v]
"""
import gzip
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest

from node import Node, inside, policy

PODFENCE = COLLECTOR = None


class Receiver:
    """Takes what is posted and answers as it is told: a list of (status, headers, body), the last one for ever."""

    def __init__(self, netns, answers=((200, {}, b"{}"),), port=4318):
        self.answers, self.requests, self.hang = list(answers), [], threading.Event()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests.append((self.path, dict(self.headers), json.loads(gzip.decompress(body))))
                receiver.hang.wait(60) if receiver.hang.is_set() else None
                status, headers, answer = receiver.answers.pop(0) if len(receiver.answers) > 1 else receiver.answers[0]
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        with inside(netns):
            self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def records(self):
        return [record for _, _, body in self.requests for resource in body["resourceLogs"]
                for scope in resource["scopeLogs"] for record in scope["logRecords"]]

    def ids(self):
        return [attributes(record)["log.record.uid"] for record in self.records()]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def attributes(record):
    return {a["key"]: next(iter(a["value"].values())) for a in record["attributes"]}


class OtlpTest(unittest.TestCase):
    def setUp(self):
        self.node = Node(PODFENCE)
        self.addCleanup(self.node.close)
        self.web = self.node.add_pod("web", "shop", app="web")
        self.client = self.node.add_pod("client", "people", app="client")
        self.node.write_world()
        self.node.write("policies.json", policy("deny-all", "shop", policyTypes=["Ingress"]))
        self.port = 8000

    def receiver(self, *answers):
        receiver = Receiver(self.node.netns, answers or ((200, {}, b"{}"),))
        self.addCleanup(receiver.close)
        return receiver

    def start(self, *more):
        self.node.start_agent("--otlp", "http://127.0.0.1:4318", "--cluster", "prod-1", *more)

    def deny(self, times=1):
        for _ in range(times):
            self.port += 1
            with inside(self.client.netns):
                s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.sendto(b"?", (self.web.v4, self.port))
            s.close()

    def logged_ids(self):
        with open(self.node.flow_log, encoding="utf-8") as log:
            return [json.loads(line)["id"] for line in log]

    def sink(self):
        return self.node.status()["sinks"][0]

    def test_records_arrive_as_the_schema_says(self):
        receiver = self.receiver()
        secret = os.path.join(self.node.directory, "headers")
        with open(secret, "w", encoding="utf-8") as out:
            out.write("# of the collector\nAuthorization: Bearer abc\n")
        self.start("--otlp-headers", secret)
        time.sleep(0.2)  # in the first instant no policy may be named
        self.deny()
        self.node.until(lambda: any(r["eventName"] == "network.policy.flow" for r in receiver.records()), "a flow", 20)
        path, headers, body = receiver.requests[0]
        self.assertEqual((path, headers["Content-Type"], headers["Content-Encoding"], headers["Authorization"]),
                         ("/v1/logs", "application/json", "gzip", "Bearer abc"))
        resource = attributes({"attributes": body["resourceLogs"][0]["resource"]["attributes"]})
        self.assertEqual((resource["service.name"], resource["k8s.node.name"], resource["k8s.cluster.name"]),
                         ("podfence", "node-a", "prod-1"))
        record = [r for r in receiver.records() if r["eventName"] == "network.policy.flow"][0]
        self.assertEqual((record["severityNumber"], record["severityText"]), (13, "WARN"))
        self.assertRegex(record["timeUnixNano"], r"^\d{19}$")
        native = json.loads(record["body"]["stringValue"])
        self.assertEqual(native["schema"], "podfence.flow/v1")
        got = attributes(record)
        self.assertEqual(got["log.record.uid"], native["id"])
        self.assertEqual((got["network.policy.verdict"], got["network.policy.reason"], got["network.transport"]),
                         ("deny", "default_deny", "udp"))
        self.assertEqual((got["source.k8s.pod.name"], got["destination.k8s.pod.name"], got["destination.port"]),
                         ("client", "web", str(self.port)))
        self.assertIn("network.policy.ingress", got, self.node.agent_log())
        self.assertEqual(got["network.policy.ingress"], {"values": [{"stringValue": "shop/deny-all"}]})

    def test_a_receiver_that_is_away_loses_nothing(self):
        self.start()
        self.deny(3)
        self.node.until(lambda: len(self.node.records()) >= 3 and self.sink()["retries"] > 0, "records wait", 20)
        self.assertIn("connection", self.sink()["error"])
        self.node.end_agent(signal.SIGKILL)
        receiver = self.receiver((503, {"Retry-After": "1"}, b""), (429, {}, b""), (200, {}, b"{}"))
        self.start()
        self.deny(2)
        self.node.until(lambda: set(self.logged_ids()) <= set(receiver.ids()) and len(self.node.records()) >= 5,
                        "all of the log arrives", 40)
        self.node.until(lambda: "error" not in self.sink(), "and all is well")
        self.assertEqual(self.sink()["dropped"], 0)

    def test_what_is_refused_is_counted_and_not_sent_again(self):
        rejected = json.dumps({"partialSuccess": {"rejectedLogRecords": "1", "errorMessage": "one too many"}}).encode()
        receiver = self.receiver((200, {}, rejected), (400, {}, b"no"), (200, {}, b"{}"))
        self.start()
        self.node.until(lambda: self.sink()["dropped"] == 1, "one is rejected", 20)
        self.deny()
        self.node.until(lambda: self.sink()["dropped"] >= 2, "a batch is refused", 20)
        self.deny()
        self.node.until(lambda: len(receiver.requests) >= 3 and "error" not in self.sink(), "it goes on", 20)
        ids = receiver.ids()
        self.assertEqual(len(ids), len(set(ids)), "nothing is sent twice")

    def test_a_receiver_that_hangs_slows_nobody(self):
        receiver = self.receiver()
        receiver.hang.set()
        self.start()
        self.deny()
        self.node.until(lambda: receiver.requests, "it is asked", 20)
        self.node.write("policies.json")
        self.node.until(lambda: self.node.status()["counts"]["policies"] == 0, "policies are followed", 3)
        self.node.until(lambda: self.node.records(), "the log is written", 12)

    def test_a_wrong_configuration_is_named(self):
        for more, part in ((("--otlp", "collector:4318"), "otlp 'collector:4318'"),
                           (("--otlp", "http://127.0.0.1:4318", "--flow-log", "-"), "flow-log must be a file"),
                           (("--otlp", "http://127.0.0.1:4318", "--otlp-headers", "/nowhere"), "/nowhere"),
                           (("--otlp", "https://127.0.0.1:4318", "--otlp-ca", "/nowhere"), "/nowhere")):
            log = () if "--flow-log" in more else ("--flow-log", self.node.flow_log)
            answer = self.node.podfence("agent", "--source", f"dir:{self.node.objects}", "--node", "node-a", "--socket",
                                        self.node.socket, "--state-dir", self.node.state, *log, *more)
            self.assertEqual(answer.returncode, 1, answer.stdout)
            self.assertIn(part, answer.stdout)

    def test_a_real_collector_takes_it(self):
        output = os.path.join(self.node.directory, "collector.log")
        config = os.path.join(self.node.directory, "collector.yaml")
        with open(config, "w", encoding="utf-8") as out:
            json.dump({"receivers": {"otlp": {"protocols": {"http": {"endpoint": "127.0.0.1:4318"}}}},
                       "exporters": {"debug": {"verbosity": "detailed"}},
                       "service": {"telemetry": {"metrics": {"level": "none"}},
                                   "pipelines": {"logs": {"receivers": ["otlp"], "exporters": ["debug"]}}}}, out)

        def run_collector():
            with open(output, "a", encoding="utf-8") as log:
                collector = subprocess.Popen(["ip", "netns", "exec", self.node.netns, COLLECTOR, "--config",
                                              f"file:{config}"], stdout=log, stderr=log)
            self.addCleanup(collector.wait)
            self.addCleanup(collector.kill)
            self.node.until(lambda: "4318" in self.node.exec("ss", "-ltnH").stdout, f"it listens: {text()}", 60)
            return collector

        def text():
            with open(output, encoding="utf-8") as log:
                return log.read()

        open(output, "w", encoding="utf-8").close()
        self.start()
        collector = run_collector()
        self.deny(2)
        self.node.until(lambda: text().count("log.record.uid: Str(node-a") >= 3, "records arrive", 30)
        for part in ("EventName: network.policy.flow", "SeverityNumber: Warn(13)", "network.policy.verdict: Str(deny)",
                     "source.k8s.pod.name: Str(client)", 'network.policy.ingress: Slice(["shop/deny-all"])',
                     "k8s.cluster.name: Str(prod-1)"):
            self.assertIn(part, text())
        collector.send_signal(signal.SIGSTOP)  # slow beyond all measure
        self.deny(2)
        time.sleep(7)
        collector.send_signal(signal.SIGCONT)
        collector.kill()  # and gone
        collector.wait()
        self.deny(2)
        run_collector()
        self.node.until(lambda: len(self.node.records()) >= 6, "the log has all", 20)
        self.node.until(lambda: all(f"Str({i})" in text() for i in self.logged_ids()), "the collector has all", 90)


if __name__ == "__main__":
    COLLECTOR = os.path.abspath(sys.argv.pop(2))
    PODFENCE = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
