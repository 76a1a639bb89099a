"""A container host inside a network namespace: pods on veth pairs, an outside behind an uplink, and a podfence agent.

Everything happens in namespaces with names of this process's own; close() ends the agent and deletes them. Sockets are
opened in a pod's namespace and used from here, so that one process can be all ends of a conversation.
"""
import contextlib
import ctypes
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
OUTSIDE_V4 = "192.0.2.7"
OUTSIDE_V6 = "2001:db8::7"
PAGES = "127.0.0.1:19436"  # of the agent, in the node's namespace


def run(*command, check=True, **options):
    return subprocess.run(command, check=check, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)


@contextlib.contextmanager
def inside(namespace):
    """This thread is in the network namespace for the length of the block."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if LIBC.setns(there, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns {namespace}")
        yield
    finally:
        if LIBC.setns(before, CLONE_NEWNET) != 0:
            os._exit(70)
        os.close(before)
        os.close(there)


def get(node, address, path, timeout=10):
    """Status, content type and body of a page of the node's."""
    with inside(node.netns):
        s = socket.socket()
    host, port = address.split(":")
    answer = b""
    with s:
        s.settimeout(timeout)
        s.connect((host, int(port)))
        s.sendall(f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        while more := s.recv(65536):
            answer += more
    head, body = answer.split(b"\r\n\r\n", 1)
    kind = re.search(rb"(?i)\r\ncontent-type: ([^\r]*)", head)
    return int(head.split()[1]), kind.group(1).decode() if kind else "", body.decode()


class Pod:
    def __init__(self, name, namespace, index, labels):
        self.name, self.namespace, self.labels = name, namespace, labels
        self.v4, self.v6 = f"10.1.0.{index}", f"fd00:1::{index:x}"
        self.netns, self.veth = None, None
        self.ports = [{"name": "http", "containerPort": 8080}]
        self.phase = "Running"

    def manifest(self, node="node-a"):
        return {
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": self.name, "namespace": self.namespace, "labels": self.labels,
                         "uid": f"uid-{self.namespace}-{self.name}"},
            "spec": {"nodeName": node, "containers": [{"name": "main", "ports": self.ports}]},
            "status": {"phase": self.phase, "podIP": self.v4, "podIPs": [{"ip": self.v4}, {"ip": self.v6}]},
        }


def namespace(name, **labels):
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def node_object(name="node-a", pod_cidrs=("10.1.0.0/24", "fd00:1::/64")):
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {"podCIDRs": list(pod_cidrs)},
            "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]}}


def policy(name, namespace_name, selector=None, **spec):
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": namespace_name, "uid": f"uid-{namespace_name}-{name}"},
            "spec": {"podSelector": {"matchLabels": selector} if selector else {}, **spec}}


class Node:
    def __init__(self, binary):
        self.binary = binary
        self.prefix = f"pf{os.getpid()}"
        self.netns = f"{self.prefix}-node"
        self.outside = f"{self.prefix}-out"
        self.directory = tempfile.mkdtemp(prefix="podfence-e2e-")
        self.objects = os.path.join(self.directory, "objects")
        self.socket = os.path.join(self.directory, "run", "agent.sock")
        self.flow_log = os.path.join(self.directory, "flows.jsonl")
        self.state = os.path.join(self.directory, "state")
        os.mkdir(self.objects)
        os.mkdir(self.state)
        self.pods, self.agent, self.namespaces = {}, None, []
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def _add_namespace(self, name):
        run("ip", "netns", "add", name)
        self.namespaces.append(name)
        self.ip(name, "link set lo up")

    def ip(self, netns, arguments):
        return run("ip", "-n", netns, *arguments.split())

    def _build(self):
        self._add_namespace(self.netns)
        self._add_namespace(self.outside)
        for key in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            self.exec("sysctl", "-qw", f"{key}=1")
        self.ip(self.netns, f"link add uplink type veth peer name eth0 netns {self.outside}")
        for netns, device, v4, v6 in ((self.netns, "uplink", "192.0.2.1/24", "2001:db8::1/64"),
                                      (self.outside, "eth0", f"{OUTSIDE_V4}/24", f"{OUTSIDE_V6}/64")):
            self.ip(netns, f"addr add {v4} dev {device}")
            self.ip(netns, f"addr add {v6} dev {device} nodad")
            self.ip(netns, f"link set {device} up")
        self.ip(self.outside, "route add default via 192.0.2.1")
        self.ip(self.outside, "-6 route add default via 2001:db8::1")

    def add_pod(self, name, namespace_name, **labels):
        pod = Pod(name, namespace_name, len(self.pods) + 2, labels)
        self.pods[f"{namespace_name}/{name}"] = pod
        pod.netns = f"{self.prefix}-{len(self.pods)}"
        pod.veth = f"veth{len(self.pods)}"
        self._add_namespace(pod.netns)
        self.ip(self.netns, f"link add {pod.veth} type veth peer name eth0 netns {pod.netns}")
        self.ip(self.netns, f"addr add 169.254.1.1/32 dev {pod.veth}")
        self.ip(self.netns, f"addr add fe80::1/64 dev {pod.veth} nodad")
        self.ip(self.netns, f"link set {pod.veth} up")
        self.ip(pod.netns, f"addr add {pod.v4}/32 dev eth0")
        self.ip(pod.netns, f"addr add {pod.v6}/128 dev eth0 nodad")
        self.ip(pod.netns, "link set eth0 up")
        self.ip(pod.netns, "route add 169.254.1.1 dev eth0")
        self.ip(pod.netns, "route add default via 169.254.1.1")
        self.ip(pod.netns, "-6 route add default via fe80::1 dev eth0")
        self.ip(self.netns, f"route add {pod.v4}/32 dev {pod.veth}")
        self.ip(self.netns, f"-6 route add {pod.v6}/128 dev {pod.veth}")
        return pod

    def exec(self, *command, check=True):
        return run("ip", "netns", "exec", self.netns, *command, check=check)

    # Objects -----------------------------------------------------------------------------------------------------

    def write(self, file, *objects):
        """Writes a file as a careful tool does: beside it, then renamed over it."""
        path = os.path.join(self.objects, file)
        with open(path + ".tmp", "w", encoding="utf-8") as out:
            json.dump({"apiVersion": "v1", "kind": "List", "items": list(objects)}, out)
        os.rename(path + ".tmp", path)

    def write_world(self):
        namespaces = sorted({pod.namespace for pod in self.pods.values()})
        self.write("world.json", node_object(), *[namespace(n, team=n) for n in namespaces],
                   *[pod.manifest() for pod in self.pods.values()])

    # The agent ---------------------------------------------------------------------------------------------------

    def start_agent(self, *more, source=None, enforces=True):
        with open(os.path.join(self.directory, "agent.log"), "a", encoding="utf-8") as log:
            self.agent = subprocess.Popen(
                ["ip", "netns", "exec", self.netns, self.binary, "agent", "--source", source or f"dir:{self.objects}",
                 "--node", "node-a", "--socket", self.socket, "--state-dir", self.state, "--flow-log", self.flow_log,
                 *more],
                stdout=log, stderr=log)
        key = "enforcing_since" if enforces else "state"
        self.until(lambda: self.status().get(key), "the agent enforces" if enforces else "the agent answers", 30)

    def end_agent(self, how=signal.SIGTERM):
        self.agent.send_signal(how)
        code = self.agent.wait(timeout=20)
        self.agent = None
        return code

    def podfence(self, *arguments, check=False):
        return self.exec(self.binary, *arguments, check=check)

    def status(self):
        answer = self.podfence("status", "--socket", self.socket, "-o", "json")
        return json.loads(answer.stdout) if answer.returncode == 0 else {}

    def metrics(self):
        """Every sample of /metrics: 'name{label="value"}' -> number."""
        lines = get(self, PAGES, "/metrics")[2].splitlines()
        return {sample: float(value) for sample, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}

    def agent_log(self):
        with open(os.path.join(self.directory, "agent.log"), encoding="utf-8") as log:
            return log.read()

    def until(self, condition, what, seconds=15):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if condition():
                return
            if self.agent and self.agent.poll() is not None:
                raise AssertionError(f"the agent ended with {self.agent.returncode} before: {what}\n{self.agent_log()}")
            time.sleep(0.02)
        raise AssertionError(f"not within {seconds} s: {what}\n{self.agent_log()}")

    # Packets -----------------------------------------------------------------------------------------------------

    def listen(self, pod, port, family=socket.AF_INET):
        with inside(pod.netns):
            server = socket.socket(family, socket.SOCK_STREAM)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        server.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", port))
        server.listen(4096)  # nobody accepts while a verdict is waited for
        return server

    def connect(self, netns, address, port, timeout=0.4):
        """A connected TCP socket, or None when no answer came in time."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with inside(netns):
            client = socket.socket(family, socket.SOCK_STREAM)
        client.settimeout(timeout)
        try:
            client.connect((address, port))
        except (TimeoutError, OSError):
            client.close()
            return None
        return client

    def reaches(self, netns, address, port, timeout=0.4):
        client = self.connect(netns, address, port, timeout)
        if client:
            client.close()
        return client is not None

    def records(self, kind="flow"):
        if not os.path.exists(self.flow_log):
            return []
        with open(self.flow_log, encoding="utf-8") as log:
            return [record for record in map(json.loads, log) if record["type"] == kind]

    def counters(self):
        listed = json.loads(self.exec("nft", "-j", "list", "counters").stdout)["nftables"]
        return {c["counter"]["name"]: c["counter"]["packets"] for c in listed if "counter" in c}

    def close(self):
        if self.agent and self.agent.poll() is None:
            self.agent.kill()
            self.agent.wait()
        for name in reversed(self.namespaces):
            run("ip", "netns", "del", name, check=False)
        shutil.rmtree(self.directory, ignore_errors=True)
