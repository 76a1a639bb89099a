"""A real API server and its database in a node's network namespace, no more of Kubernetes than that, and the node's agent
with the rights that deploy/ gives it. The server's audit log tells what the agent asks for."""
import base64
import json
import os
import subprocess
import sys
import tempfile
import unittest
import urllib.parse

from node import Node, inside, namespace, node_object

TESTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
sys.path.append(os.path.join(TESTS, "cluster"))
from control_plane import ControlPlane  # noqa: E402

RBAC = os.path.join(TESTS, "..", "deploy", "kustomize", "rbac.yaml")
ACCOUNT = "system:serviceaccount:kube-system:podfence"
NETWORKING = "networking.k8s.io/v1"
TYPES = {"/api/v1/namespaces": "namespaces", "/api/v1/nodes": "nodes", "/api/v1/pods": "pods",
         "/apis/networking.k8s.io/v1/networkpolicies": "networkpolicies"}


def programs():
    build = [os.path.join(TESTS, "support", "go_programs.sh"), os.path.join(TESTS, "cluster", "kubernetes")]
    return subprocess.run(build, check=True, text=True, stdout=subprocess.PIPE).stdout.strip()


class Asked:
    """A request of the agent's, as the server has it in its log; a watch when its answer begins."""

    def __init__(self, event):
        url = urllib.parse.urlsplit(event["requestURI"])
        self.path, self.query = url.path, dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        self.type = TYPES.get(url.path, url.path)
        self.agent = event.get("userAgent", "")
        self.status = event.get("responseStatus", {}).get("code")
        self.watches = "watch" in self.query

    def __repr__(self):
        return f"{self.status} {self.path}?{urllib.parse.urlencode(self.query)}"


class ApiCase(unittest.TestCase):
    PODFENCE = None

    def setUp(self):
        self.node = Node(self.PODFENCE)
        self.addCleanup(self.node.close)
        root = tempfile.TemporaryDirectory()
        self.addCleanup(root.cleanup)
        self.plane = ControlPlane(os.path.join(root.name, "plane"), programs(), launch=self.launch)
        self.addCleanup(self.plane.close)
        self.log, self.rules_of_log = self.plane.file("audit.log"), self.plane.file("audit.json")
        with open(self.rules_of_log, "w", encoding="ascii") as file:
            json.dump({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": [
                {"level": "Metadata", "users": [ACCOUNT]}, {"level": "None"}]}, file)  # fmt: skip
        self.seen, self.known = 0, set()
        self.plane.start_etcd()
        self.start_api_server()
        self.kubectl("apply", "-n", "kube-system", "-f", RBAC)
        self.api = self.plane.api()

    def launch(self, command, **more):
        return subprocess.Popen(["ip", "netns", "exec", self.node.netns, *command], **more)

    def kubectl(self, *arguments):
        program = os.path.join(self.plane.programs, "kubectl")
        return self.node.exec(program, f"--kubeconfig={self.plane.kubeconfig('admin')}", *arguments)

    def start_api_server(self, *more):
        self.plane.start_api_server("--disable-admission-plugins=ServiceAccount", f"--audit-policy-file={self.rules_of_log}",
                                    f"--audit-log-path={self.log}", *more)
        with inside(self.node.netns):
            self.plane.wait_ready()

    def put(self, *things):
        """Objects that do not exist yet."""
        kinds = {"Namespace": "namespaces", "Node": "nodes", "Pod": "pods", "NetworkPolicy": "networkpolicies"}
        for thing in things:
            thing = json.loads(json.dumps(thing))
            meta, status = thing["metadata"], thing.pop("status", None)
            meta.pop("uid", None)
            for container in thing.get("spec", {}).get("containers", []):
                container["image"] = "none"
            kind, where = kinds[thing["kind"]], meta.get("namespace")
            with inside(self.node.netns):
                self.api.create(kind, thing, where, NETWORKING if kind == "networkpolicies" else "")
                if kind == "pods" and status:
                    self.api.patch(kind, meta["name"], {"status": status}, where, part="/status")

    def world(self):
        """What the node's pods are."""
        names = sorted({pod.namespace for pod in self.node.pods.values()})
        return [node_object(), *[namespace(n, team=n) for n in names], *[p.manifest() for p in self.node.pods.values()]]

    # The agent ---------------------------------------------------------------------------------------------------

    def account(self, **user):
        """A kubeconfig of the agent's account, or of another user."""
        path = self.plane.file("agent.kubeconfig")
        with open(self.plane.kubeconfig("admin"), encoding="utf-8") as file:
            config = json.load(file)
        if not user:
            with inside(self.node.netns):
                made = self.api.call("POST", self.api.path("serviceaccounts", "kube-system", "podfence") + "/token", {"spec": {}})
            user = {"token": made["status"]["token"]}
        config["users"][0]["user"] = user
        with open(path, "w", encoding="utf-8") as file:
            json.dump(config, file)
        return path

    def start_agent(self, *more, config=None, enforces=True):
        self.node.start_agent("--kubeconfig", config or self.account(), *more, source="kubernetes", enforces=enforces)

    def type(self, name):
        return next((t for t in self.node.status().get("kubernetes", []) if t["type"] == name), {})

    def asked(self):
        """What the agent has asked for since the last time."""
        with open(self.log, encoding="utf-8") as file:
            lines = file.read().split("\n")[:-1]  # whole ones
        new, self.seen = lines[self.seen:], len(lines)
        first = {}  # what is said of a request first: of a watch that begins ResponseStarted, else ResponseComplete
        for event in map(json.loads, new):
            first.setdefault(event["auditID"], event)
        asked = [Asked(event) for name, event in first.items() if name not in self.known]
        self.known |= first.keys()
        return asked


def bytes_of(path):
    with open(path, "rb") as file:
        return base64.b64encode(file.read()).decode()
