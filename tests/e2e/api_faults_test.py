#!/usr/bin/env python3
"""What an API server and the way to it can do wrong: the rules stay as they are, byte for byte, and what changed
meanwhile is enforced once all is well. Usage: api_faults_test.py PODFENCE [-v]

Faults: C1 C2 C3 C5 C7 C8 C9 C10 C11. C4 C6 C12 C13 C16 are in checkpoint_test.py and kube_test.py, C14 in
clock_test.py, C15 in tests/enforcer/kernel and tests/enforcer/agent. List/watch row W17.
"""
import base64
import contextlib
import gzip
import http.client
import json
import os
import signal
import ssl
import sys
import time
import unittest
import zlib

from api_server import Answer, status
from kube_case import POLICIES, KubeCase
from node import inside

JSON = {"Content-Type": "application/json"}
CUT = {**JSON, "Content-Length": "100000", "Connection": "close"}


class ApiFaultsTest(KubeCase):
    def stays(self, noticed, what):
        """The rules do, until the agent has noticed and after it."""
        before = self.rules()
        self.assertIn("table inet podfence", before)
        self.node.until(noticed, what, 60)
        self.assertEqual(self.rules(), before)
        self.assert_judged()

    def error(self, words):
        return lambda: any(words in t.get("error", "") for t in self.node.status()["kubernetes"])

    def converges(self):
        self.api.delete(self.allow_web())
        self.wait_for(self.client, self.web, False)
        self.node.until(lambda: self.node.status()["state"] == "enforcing", "all is well again", 60)

    def relists(self):
        return sum(t["relists"] for t in self.node.status()["kubernetes"])

    def test_it_is_killed(self):  # C1
        self.start_agent()
        self.api.kill()
        self.stays(lambda: self.node.status()["fail_static"], "the server is away")
        self.api.start()
        self.converges()
        self.assertEqual(self.relists(), 0, "its history was there")

    def test_it_stops_in_good_order(self):  # C2
        self.start_agent()
        asked = {}

        def stopping(path, query):
            asked.setdefault(path, []).append(time.monotonic())
            return Answer(429, status(429, "TooManyRequests", "stopping"), {"Retry-After": "3", "Connection": "close"})
        self.api.fault = stopping
        self.api.end_watches()
        self.stays(self.error("429"), "it is asked to wait")
        again = lambda: len(asked) == 4 and all(len(times) >= 2 for times in asked.values())
        self.node.until(again, "each type asks again", 60)
        for first, second, *_ in asked.values():
            self.assertGreaterEqual(second - first, 3, "after the wait")
        self.api.fault = lambda path, query: None
        self.converges()
        self.assertEqual(self.relists(), 0)

    def test_its_database_stalls_when_the_agent_starts(self):  # C3
        stalled = Answer(500, status(500, "InternalError", "etcdserver: request timed out"))
        self.api.fault = lambda path, query: stalled if query.get("resourceVersion", "") == "" else None
        self.start_agent()
        self.assert_judged()
        self.assertTrue(all(t["possibly_stale"] for t in self.node.status()["kubernetes"]))
        self.api.fault = lambda path, query: None
        self.converges()

    def test_it_has_forgotten_what_a_paused_agent_did_not_read(self):  # C5, C8
        self.start_agent()
        before = self.rules()
        self.node.agent.send_signal(signal.SIGSTOP)
        for number in range(3000):
            pod = self.db.manifest()
            pod["metadata"]["annotations"] = {"number": str(number), "padding": "x" * 1000}
            self.api.put(pod)
        self.api.end_watches()
        self.api.compact()
        self.assertEqual(self.rules(), before)
        self.node.agent.send_signal(signal.SIGCONT)
        self.converges()
        self.assertGreaterEqual(sum(t["expired"] for t in self.node.status()["kubernetes"]), 1)

    def test_it_answers_with_errors_only(self):  # C7
        self.start_agent()
        errors = [Answer(503, "no backend"), Answer(429, status(429, "TooManyRequests", "busy"), {"Retry-After": "1"}),
                  Answer(500, status(500, "InternalError", "oops")), Answer(502, "<html>", {"Content-Type": "text/html"})]
        asked = []

        def storm(path, query):
            asked.append(path)
            return errors[len(asked) % len(errors)]
        self.api.fault = storm
        started = time.monotonic()
        self.api.kill()
        self.api.start()
        self.stays(lambda: len(asked) >= 8, "it is asked again and again")
        self.assertLessEqual(len(asked), 12 + 2 * (time.monotonic() - started), "and not too often")
        self.api.fault = lambda path, query: None
        self.converges()

    def test_its_answers_are_cut_or_garbage(self):  # C9
        self.start_agent()
        gone = json.dumps({"kind": "NetworkPolicyList", "apiVersion": "networking.k8s.io/v1", "items": [],
                           "metadata": {"resourceVersion": "9999"}})
        event = json.dumps({"type": "DELETED", "object": {"kind": "NetworkPolicy", "metadata": {"name": "deny-all"}}})
        proto = {"Content-Type": "application/vnd.kubernetes.protobuf;stream=watch"}
        bad = {POLICIES: [Answer(200, gone[:40], CUT), Answer(200, gone, {"Content-Type": "text/html"})],
               "/api/v1/pods": [Answer(200, event[:-1], CUT), Answer(200, "\x00\x01 {[[", JSON)],
               "/api/v1/nodes": [Answer(200, "k8s\x00\x0a\xff\xff", proto), Answer(200, event + event, JSON)],
               "/api/v1/namespaces": [Answer(200, "", CUT), Answer(200, "[" * 5000, JSON)]}
        given = dict.fromkeys(bad, 0)

        def garbage(path, query):
            if "limit" in query:
                return None
            given[path] += 1
            return bad[path][given[path] % 2]
        self.api.kill()
        self.api.compact()
        self.api.fault = garbage
        self.api.start()
        self.stays(lambda: min(given.values()) >= 2, "all of it was given")
        self.api.fault = lambda path, query: None
        self.converges()

    def test_the_token_is_revoked_and_another_one_comes(self):  # C10, T8
        token = os.path.join(self.node.directory, "token")

        def issue(text):
            with open(token + ".new", "w", encoding="ascii") as out:
                out.write(text)
            os.rename(token + ".new", token)
        issue(self.api.token)
        self.start_agent(tokenFile="token")
        self.api.token = "another"
        self.api.delete(self.allow_web())  # a watch that is open outlives its token
        self.wait_for(self.client, self.web, False)
        self.api.put(self.allow_web())
        self.wait_for(self.client, self.web, True)
        self.api.end_watches()
        self.stays(self.error("401"), "it is refused")
        issue("another")
        self.converges()

    def test_the_authority_of_its_certificate_is_replaced(self):  # C11
        path = self.api.kubeconfig()
        with open(path, encoding="utf-8") as file:
            config = json.load(file)
        old, authority = self.api.tls, os.path.join(self.node.directory, "ca.crt")
        with open(authority, encoding="ascii") as file:
            trusted = file.read()
        self.api._make_certificates()
        with open(authority, encoding="ascii") as file:
            trusted += file.read()
        new, self.api.tls = self.api.tls, old
        cluster = config["clusters"][0]["cluster"]
        cluster["certificate-authority-data"] = base64.b64encode(trusted.encode()).decode()
        with open(path, "w", encoding="utf-8") as out:
            json.dump(config, out)
        self.node.start_agent("--kubeconfig", path, source="kubernetes")
        self.api._make_certificates()
        self.api.end_watches()
        self.stays(self.error("certificate"), "nobody vouches for the third one")
        self.api.tls = new
        self.converges()

    def ask_as_another_client(self, path):
        """What comes of a short watch with Accept-Encoding, and what Content-Encoding says."""
        insecure = ssl.create_default_context()
        insecure.check_hostname, insecure.verify_mode = False, ssl.CERT_NONE
        with inside(self.node.netns):
            connection = http.client.HTTPSConnection(self.api.address, self.api.port, context=insecure, timeout=60)
            connection.connect()
        with contextlib.closing(connection):
            headers = {"Authorization": f"Bearer {self.api.token}", "Accept-Encoding": "gzip"}
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.read(), answer.headers["Content-Encoding"]

    def test_it_compresses_for_those_who_ask(self):  # W17
        self.start_agent()
        self.assert_judged()
        self.api.delete(self.allow_web())
        self.wait_for(self.client, self.web, False)
        self.assertEqual(self.api.compressed, 0)
        body, encoding = self.ask_as_another_client(
            f"{POLICIES}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=0")
        self.assertEqual((encoding, self.api.compressed), ("gzip", 1))
        self.assertEqual(len(gzip.decompress(body).splitlines()), 2, "the policy that is left, and the end of the list")
        self.assertLess(len(zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(body)), len(gzip.decompress(body)),
                        "a reader of one gzip file sees the first event only")

    def test_it_compresses_for_those_who_do_not_ask(self):  # W17
        self.start_agent()
        self.api.compresses = "unasked"
        self.api.kill()
        self.api.compact()  # and lists are asked for, too
        self.api.start()
        words = "answers with Content-Encoding 'gzip', which was not asked for"
        all_say = lambda: all(t["error"] == words for t in self.node.status()["kubernetes"])
        self.stays(all_say, "each type says so")
        self.assertIn(f"networkpolicies: {words}", self.node.agent_log())
        self.api.compresses = "asked"
        self.converges()

    def test_it_compresses_for_an_agent_that_starts(self):  # W17
        self.api.compresses = "unasked"
        self.start_agent(enforces=False)
        self.node.until(self.error("Content-Encoding 'gzip'"), "it is said", 60)
        self.assertNotIn("chain", self.rules())
        self.assertEqual(self.node.status()["state"], "starting")
        self.api.compresses = "asked"
        self.node.until(lambda: self.node.status()["state"] == "enforcing", "it is read", 60)
        self.assert_judged()


if __name__ == "__main__":
    KubeCase.PODFENCE = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
