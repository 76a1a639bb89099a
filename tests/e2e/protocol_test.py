#!/usr/bin/env python3
"""What an agent asks of a real kube-apiserver, by that server's audit log, and what it makes of the answers.
Usage: protocol_test.py PODFENCE [-v]

The rows of the list/watch rules that a real server can show and that no fault belongs to (those are in tests/cluster);
tests/enforcer/reflector has all of them against a script.
"""
import os
import sys
import time
import unittest

from api_case import ACCOUNT, NETWORKING, ApiCase, bytes_of
from node import inside, policy

ALL = ["namespaces", "networkpolicies", "nodes", "pods"]
BUT_PODS = ALL[:-1]  # how these are watched is known when the nodes are


class Protocol(ApiCase):
    def setUp(self):
        super().setUp()
        self.web = self.node.add_pod("web", "shop", app="web")
        self.client = self.node.add_pod("client", "people", app="client")
        self.addCleanup(self.node.listen(self.web, 8080).close)
        self.put(*self.world())

    def admit(self, team, name="admitted"):
        peers = [{"namespaceSelector": {"matchLabels": {"team": team}}}]
        self.put(policy(name, "shop", {"app": "web"}, ingress=[{"from": peers}]))

    def reach(self):
        return self.node.reaches(self.client.netns, self.web.v4, 8080, 0.2)

    def wait_for(self, allowed):
        self.node.until(lambda: self.reach() == allowed, f"client -> web: {allowed}", 60)

    def watching(self):
        """Of each type what it is asked for now."""
        self.node.until(lambda: all(self.type(t).get("state") == "watching" for t in ALL), "all types are watched", 60)

    def test_first_a_list_as_a_watch_then_nothing_but_the_watch(self):
        """S1 S5 W1 W3 W4 W13 L3 L12 W17 B5"""
        self.start_agent()
        self.assertTrue(self.reach())
        self.admit("others")
        self.wait_for(False)
        asked = self.asked()
        self.assertEqual(sorted(a.type for a in asked), ALL, asked)
        for one in asked:
            self.assertEqual((one.status, one.query["watch"], one.query["sendInitialEvents"]), (200, "1", "true"), one)
            self.assertEqual((one.query["resourceVersionMatch"], one.query["allowWatchBookmarks"]), ("NotOlderThan", "true"), one)
            self.assertEqual((one.query.get("resourceVersion", ""), "limit" in one.query), ("", False), one)
            self.assertIn(int(one.query["timeoutSeconds"]), range(300, 600), one)
            self.assertRegex(one.agent, r"^podfence/\d")
        for name, count in (("nodes", 1), ("pods", 2), ("networkpolicies", 1)):
            shown = self.type(name)
            self.assertEqual((shown["objects"], shown["relists"], shown.get("error")), (count, 0, None), shown)
        self.bookmarks_move_cursors()
        self.assertEqual(self.asked(), [], "as long as the watches go on nothing else is asked")

    def bookmarks_move_cursors(self):  # W3
        """What happens to other types moves this one's cursor, a minute later, without an event of its own."""
        before, events = self.type("networkpolicies")["cursor"], self.type("networkpolicies")["events"]
        with inside(self.node.netns):
            self.api.create("configmaps", {"metadata": {"name": "other"}}, "shop")
            self.api.list("networkpolicies", group=NETWORKING)  # as of now: the server's cache learns how late it is
        self.node.until(lambda: self.type("networkpolicies")["cursor"] != before, "a bookmark", 100)
        self.assertEqual(self.type("networkpolicies")["events"], events)

    def test_a_server_that_comes_back_is_asked_from_the_cursors(self):
        """W4 W8 W9 L1 L7 A1 B1: killed, and away for a while. Its cache begins anew: a cursor from before may have expired."""
        self.admit("people")
        self.start_agent("--audit-seconds", "2")
        self.watching()
        cursors = {t: self.type(t)["cursor"] for t in ALL}
        before = self.node.exec("nft", "-s", "list", "table", "inet", "podfence").stdout
        self.asked()
        self.plane.kill("kube-apiserver")
        self.node.until(lambda: self.type("pods")["state"] != "watching", "the agent notices", 60)
        time.sleep(3)
        self.assertTrue(self.reach())
        self.assertEqual(self.node.exec("nft", "-s", "list", "table", "inet", "podfence").stdout, before)
        self.start_api_server()
        with inside(self.node.netns):
            self.api.delete("networkpolicies", "admitted", "shop", NETWORKING)
        self.admit("others", "later")
        self.wait_for(False)
        self.watching()
        self.node.until(lambda: {t for t in ALL if self.audited(t)} == set(ALL), "each type was counted", 60)
        for type_ in ALL:
            first = next(a for a in self.since_return if a.type == type_ and a.watches and a.status != 401)
            self.assertEqual(first.query["resourceVersion"], cursors[type_], first)
            self.assertNotIn("sendInitialEvents", first.query)
            lists = [a for a in self.since_return if a.type == type_ and "limit" not in a.query
                     and (not a.watches or "sendInitialEvents" in a.query)]  # fmt: skip
            self.assertLessEqual(len(lists), 1, lists)
            self.assertEqual(self.type(type_)["relists"], len(lists))
            self.assertGreaterEqual(self.type(type_)["expired"], len(lists), "for nothing but an expired cursor")
            self.assertEqual(self.type(type_)["missed_events"], 0)

    def audited(self, type_):  # A1
        """Counted: one object of the database's, and how many there are."""
        self.since_return = [*getattr(self, "since_return", []), *self.asked()]
        return [a for a in self.since_return if a.type == type_ and a.query.get("limit") == "1" and a.status == 200
                and "resourceVersion" not in a.query]  # fmt: skip

    def test_counts_of_a_real_server_agree(self):
        """A1: while pods come and go no list is read again."""
        self.start_agent("--audit-seconds", "1")
        for number in range(30):
            pod = self.client.manifest()
            pod["metadata"]["name"] = f"client-{number}"
            pod["status"]["podIP"] = f"10.7.0.{number + 1}"
            pod["status"]["podIPs"] = [{"ip": pod["status"]["podIP"]}]
            pod["spec"]["nodeName"] = "elsewhere"
            self.put(pod)
            if number % 3 == 2:
                with inside(self.node.netns):
                    self.api.delete("pods", f"client-{number - 1}", "people")
            time.sleep(0.1)
        self.node.until(lambda: self.type("pods")["objects"] == 2 + 20, "all are known", 60)
        self.since_return = []
        self.node.until(lambda: len(self.audited("pods")) >= 3, "pods were counted", 60)
        shown = self.type("pods")
        self.assertEqual((shown["relists"], shown["missed_events"], shown["rollbacks"]), (0, 0, 0), shown)

    def test_a_server_without_lists_as_a_watch(self):
        """S2 L1 L2 L10: what it refuses is asked of its cache, whole; later lists are asked as it can answer them."""
        self.plane.kill("kube-apiserver")
        self.start_api_server("--feature-gates=WatchList=false")
        self.admit("people")
        self.start_agent()
        self.watching()
        self.assertTrue(self.reach())
        asked = self.asked()
        for type_ in ALL:
            first, second, third = [a for a in asked if a.type == type_]
            self.assertEqual((first.query["sendInitialEvents"], first.status // 100), ("true", 4), first)
            self.assertEqual((second.query, second.status, second.watches), ({"resourceVersion": "0"}, 200, False), second)
            self.assertEqual((third.status, "sendInitialEvents" in third.query), (200, False), third)
            self.assertEqual(self.type(type_)["cursor"], third.query["resourceVersion"])
        with inside(self.node.netns):
            self.api.patch("namespaces", "people", {"metadata": {"labels": {"team": "others"}}})
        self.wait_for(False)

    def test_protobuf_is_what_is_spoken(self):
        """T15: by what it takes; the same in JSON is longer by a third and more."""
        pods = []
        for number in range(100):
            pod = self.client.manifest()
            pod["metadata"]["name"] = f"client-{number}"
            pod["spec"]["nodeName"] = "elsewhere"
            pods.append(pod)
        self.put(*pods)
        self.start_agent()
        self.node.until(lambda: self.type("pods").get("objects") == 102, "all are known", 60)
        sizes = {kind: self.size_of_pods(kind) for kind in ("application/json", "application/vnd.kubernetes.protobuf")}
        size = self.type("pods")["bytes"]
        self.assertLess(size, sizes["application/json"] * 0.8, sizes)
        self.assertGreater(size, sizes["application/vnd.kubernetes.protobuf"] * 0.9, sizes)
        self.assertEqual(self.node.podfence("status", "--socket", self.node.socket).returncode, 0)

    def size_of_pods(self, kind):
        return int(self.node.exec("curl", "-s", "--cacert", self.plane.authority.certificate, "-o", "/dev/null", "-w",
                                  "%{size_download}", "-A", "podfence-test", "-H", f"Accept: {kind}", "-H",
                                  f"Authorization: Bearer {self.plane.tokens['admin']}",
                                  f"https://127.0.0.1:{self.plane.port}/api/v1/pods?resourceVersion=0").stdout)

    def test_a_pod_enters_and_leaves_the_selection(self):
        """W14: of this node's pods, when the scheduler says where it goes, and when it ends."""
        self.admit("people")
        self.start_agent("--watch", "needed")
        self.node.until(lambda: self.type("local-pods").get("objects") == 2, "its own pods", 60)
        late = self.client.manifest()
        late["metadata"]["name"] = "late"
        late.pop("status")
        del late["spec"]["nodeName"]
        self.put(late)
        self.node.until(lambda: self.type("pods/people").get("objects") == 2, "it is known as a peer", 60)
        self.assertEqual(self.type("local-pods")["objects"], 2)
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "late"},
                   "target": {"apiVersion": "v1", "kind": "Node", "name": "node-a"}}
        with inside(self.node.netns):
            self.api.call("POST", self.api.path("pods", "people", "late") + "/binding", binding)
        self.node.until(lambda: self.type("local-pods")["objects"] == 3, "it is one of its own", 60)
        with inside(self.node.netns):
            self.api.delete("pods", "late", "people")
        self.node.until(lambda: self.type("local-pods")["objects"] == 2, "it is gone", 60)
        asked = self.asked()
        self.assertEqual({(a.path, a.query.get("fieldSelector")) for a in asked if a.path.endswith("/pods")},
                         {("/api/v1/pods", "spec.nodeName=node-a"), ("/api/v1/namespaces/people/pods", None)})

    def test_a_client_certificate_is_who_the_agent_is(self):
        """T10 T11: of an account that may read, and of one that may not (T16: its refusal is told)."""
        certificate, key = self.plane.authority.issue("stranger", "/CN=stranger")
        stranger = self.account(**{"client-certificate-data": bytes_of(certificate), "client-key-data": bytes_of(key)})
        self.start_agent(config=stranger, enforces=False)
        self.node.until(lambda: all("403" in self.type(t).get("error", "") for t in BUT_PODS), "it is refused", 60)
        self.assertIn('"stranger"', self.type("nodes")["error"])
        self.assertNotIn("chain", self.node.exec("nft", "list", "ruleset").stdout)
        self.node.end_agent()
        certificate, key = self.plane.authority.issue("account", f"/CN={ACCOUNT}")
        self.start_agent(config=self.account(**{"client-certificate": certificate, "client-key": key}))
        self.admit("others")
        self.wait_for(False)

    def test_the_server_is_who_its_certificate_says(self):
        """T6: by address, by name, by another name that the kubeconfig says."""
        path = self.account()
        with open(path, encoding="utf-8") as file:
            text = file.read()
        url = f"https://127.0.0.1:{self.plane.port}"
        self.assertIn(url, text)
        for server, more, well in ((url.replace("127.0.0.1", "localhost"), "", True), (url, '"tls-server-name": "kubernetes",', True),
                                   (url, '"tls-server-name": "elsewhere",', False)):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text.replace(f'"server": "{url}"', f'{more} "server": "{server}"'))
            self.start_agent(config=path, enforces=well)
            if not well:
                self.node.until(lambda: all("certificate" in self.type(t).get("error", "") for t in BUT_PODS), "it is told", 60)
                self.assertIn("'elsewhere'", self.type("nodes")["error"])
            self.node.end_agent()


if __name__ == "__main__":
    ApiCase.PODFENCE = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
