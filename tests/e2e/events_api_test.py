#!/usr/bin/env python3
"""Events as a real API server takes them: etcd and kube-apiserver in the node's namespace, an agent with the rights that the
chart gives, packets that the kernel drops. Usage: events_api_test.py PODFENCE [-v]
"""
import os
import subprocess
import sys
import tempfile
import unittest

from node import Node, inside, namespace, node_object, policy

TESTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
sys.path.append(os.path.join(TESTS, "cluster"))
from control_plane import ApiError, ControlPlane  # noqa: E402
from events_test import send_datagrams  # noqa: E402

PODFENCE = None
USER = "podfence-agent"
RULES = [{"apiGroups": [""], "resources": ["namespaces", "nodes", "pods"], "verbs": ["list", "watch"]},
         {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": ["list", "watch"]},
         {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]}]


class EventsApiTest(unittest.TestCase):
    def test_they_are_valid_and_their_series_goes_on(self):
        node = Node(PODFENCE)
        self.addCleanup(node.close)
        web, client = node.add_pod("web", "shop"), node.add_pod("client", "people")
        root = tempfile.TemporaryDirectory()
        self.addCleanup(root.cleanup)

        class Plane(ControlPlane):
            users = {**ControlPlane.users, USER: ""}

        def launch(command, **more):
            return subprocess.Popen(["ip", "netns", "exec", node.netns, *command], **more)

        build = [os.path.join(TESTS, "support", "go_programs.sh"), os.path.join(TESTS, "cluster", "kubernetes")]
        programs = subprocess.run(build, check=True, text=True, stdout=subprocess.PIPE).stdout.strip()
        plane = Plane(os.path.join(root.name, "plane"), programs, launch=launch)
        self.addCleanup(plane.close)
        plane.start_etcd()
        plane.start_api_server("--disable-admission-plugins=ServiceAccount")
        with inside(node.netns):
            plane.wait_ready()
            api = plane.api()
            group = "rbac.authorization.k8s.io/v1"
            api.create("clusterroles", {"metadata": {"name": USER}, "rules": RULES}, group=group)
            api.create("clusterrolebindings", {
                "metadata": {"name": USER}, "subjects": [{"kind": "User", "name": USER}],
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": USER}}, group=group)
            api.create("nodes", node_object())
            for pod in (web, client):
                api.create("namespaces", namespace(pod.namespace))
                made = pod.manifest()
                status = made.pop("status")
                made["spec"]["containers"][0]["image"] = "none"
                del made["metadata"]["uid"]
                api.create("pods", made, pod.namespace)
                api.patch("pods", pod.name, {"status": status}, pod.namespace, part="/status")
            api.create("networkpolicies", policy("deny-all", "shop", policyTypes=["Ingress"]), "shop", "networking.k8s.io/v1")

        node.start_agent("--kubeconfig", plane.kubeconfig(USER), "--flow-events", source="kubernetes")
        send_datagrams(client, web.v4, 5000, 3)

        def events():
            with inside(node.netns):
                return [e for e in api.list("events", "shop", "events.k8s.io/v1") if e["reason"] == "FlowDenied"]
        node.until(lambda: events() or node.status()["sinks"][0].get("error"), "an Event", 60)
        self.assertEqual(node.status()["sinks"][0].get("error"), None)
        event = events()[0]
        with inside(node.netns):
            uid = api.call("GET", "/api/v1/namespaces/shop/pods/web")["metadata"]["uid"]
            self.assertEqual((event["regarding"]["uid"], event["series"]["count"]), (uid, 3))
            self.assertIn("NetworkPolicy shop/deny-all", event["note"])
            core = [e for e in api.list("events", "shop") if e["reason"] == "FlowDenied"][0]  # as kubectl shows it
            self.assertEqual((core["involvedObject"]["name"], core["message"]), ("web", event["note"]))
            # What a series' request says, by the same user.
            agent = plane.api(USER)
            series = {"series": {"count": 5, "lastObservedTime": "2026-11-23T17:30:00.123456Z"}}
            agent.patch("events", event["metadata"]["name"], series, "shop", "events.k8s.io/v1")
            self.assertEqual(events()[0]["series"]["count"], 5)
            with self.assertRaises(ApiError):
                agent.delete("events", event["metadata"]["name"], "shop", "events.k8s.io/v1")


if __name__ == "__main__":
    PODFENCE = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
