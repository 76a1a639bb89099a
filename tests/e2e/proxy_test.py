#!/usr/bin/env python3
"""The API server behind an HTTP proxy: policies are followed through it, its end changes no rule, and NO_PROXY goes round
it. Usage: proxy_test.py PODFENCE [-v]

List/watch row T13.
"""
import os
import sys
import unittest

from connect_proxy import ConnectProxy
from kube_case import KubeCase


class ProxyTest(KubeCase):
    ADDRESS = "192.0.2.1"  # a loopback address is never asked of a proxy that the environment names

    def setUp(self):
        super().setUp()
        self.proxy = ConnectProxy(self.node.netns, "me", "se:cret")
        self.proxy.start()
        self.addCleanup(lambda: self.proxy.listener and self.proxy.kill())
        self.target = f"{self.api.address}:{self.api.port}"

    def url(self, credentials="me:se%3Acret"):
        return f"http://{credentials}@127.0.0.1:{self.proxy.port}"

    def environment(self, **variables):
        self.wrap("".join(f"export {name}='{value}'\n" for name, value in variables.items()))

    def errors(self):
        return [t.get("error", "") for t in self.node.status().get("kubernetes", [])]

    def test_policies_are_followed_through_it_and_outlive_it(self):  # T13
        self.environment(https_proxy=self.url(), NO_PROXY="192.0.2.2,.example")
        self.start_agent()
        self.assert_judged()
        self.assertGreaterEqual(len(self.proxy.tunnels), 4, "a watch of each type")
        self.api.delete(self.allow_web())
        self.wait_for(self.client, self.web, False)
        self.api.put(self.allow_web())
        self.wait_for(self.client, self.web, True)
        before, asked = self.rules(), len(self.api.requests)
        self.proxy.kill()
        name = f"proxy http://127.0.0.1:{self.proxy.port}: "
        self.node.until(lambda: any(name + "connection" in e for e in self.errors()), "the proxy is named", 60)
        self.node.until(lambda: self.node.status()["fail_static"], "the agent notices", 60)
        self.assertEqual(self.rules(), before)
        self.assert_judged()
        self.assertEqual(len(self.api.requests), asked, "nothing goes round it")
        self.api.delete(self.allow_web())
        self.proxy.start()
        self.wait_for(self.client, self.web, False)
        self.node.until(lambda: self.node.status()["state"] == "enforcing", "all is well again", 60)
        self.assertEqual(set(self.proxy.tunnels), {self.target})
        self.assertEqual(self.proxy.refused, [])
        self.assertIn(f"through proxy http://127.0.0.1:{self.proxy.port}", self.node.agent_log())
        self.assertNotIn("cret", self.node.agent_log())

    def test_one_that_does_not_know_the_agent(self):  # T13
        self.environment(HTTPS_PROXY=self.url("me:wrong"))
        self.start_agent(enforces=False)
        words = f"answer to CONNECT {self.target}: 407 Proxy Authentication Required"
        self.node.until(lambda: any(words in e for e in self.errors()), "the refusal is shown", 60)
        self.assertNotIn("chain", self.rules())
        self.assertNotIn("wrong", self.node.agent_log() + "".join(self.errors()))
        self.assertEqual((self.proxy.tunnels, self.api.requests), ([], []))

    def test_no_proxy_goes_round_it(self):  # T13
        self.environment(HTTPS_PROXY=self.url(), no_proxy="example.com, 192.0.2.0/24")
        self.start_agent()
        self.assert_judged()
        self.assertEqual(self.proxy.tunnels + self.proxy.refused, [])

    def test_the_kubeconfigs_own_counts_before_the_environment(self):  # T13, T11
        self.environment(HTTPS_PROXY="http://127.0.0.1:1", NO_PROXY="*")
        file = self.api.kubeconfig(cluster={"proxy-url": self.url()})
        self.node.start_agent("--kubeconfig", file, source="kubernetes")
        self.assert_judged()
        self.assertGreaterEqual(len(self.proxy.tunnels), 4)

    def test_what_is_not_supported_is_said_at_once(self):  # T13
        for scheme in ("https", "socks5"):
            answer = self.node.podfence("agent", "--source", "kubernetes", "--node", "node-a", "--kubeconfig",
                                        self.api.kubeconfig(cluster={"proxy-url": f"{scheme}://me:secret@proxy:1"}),
                                        "--socket", self.node.socket, "--state-dir", self.node.state, "--flow-log", "")
            self.assertEqual(answer.returncode, 1, answer.stdout)
            self.assertIn(f"proxy-url: '{scheme}://proxy:1': a proxy of scheme '{scheme}' is not supported",
                          answer.stdout)
            self.assertNotIn("secret", answer.stdout)


if __name__ == "__main__":
    KubeCase.PODFENCE = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
