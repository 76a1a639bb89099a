"""Sandboxes as a chain of CNI plugins leaves them, and a node whose agent is asked as podfence-cni asks it."""
import json
import os
import socket
import subprocess
import time

from node import Node, inside, run

PORT = 9000


class Sandbox:
    """A network namespace on a routed veth pair, as a CNI plugin would have left it."""

    def __init__(self, node, number, v4, pod, v6=None):
        self.id, self.v4, self.pod = f"box{number}", v4, pod
        self.v6 = v6 or f"fd00:7::{number + 2:x}"
        self.netns, self.veth = f"{node.prefix}-box{number}", f"box{number}"
        self.node = node
        node._add_namespace(self.netns)
        batch = [f"link add {self.veth} type veth peer name eth0 netns {self.netns}",
                 f"addr add 169.254.1.1/32 dev {self.veth}", f"addr add fe80::1/64 dev {self.veth} nodad",
                 f"link set {self.veth} up", f"route replace {v4}/32 dev {self.veth}",
                 f"route replace {self.v6}/128 dev {self.veth}"]
        node.ip_batch(node.netns, batch)
        node.ip_batch(self.netns, [f"addr add {v4}/32 dev eth0", f"addr add {self.v6}/128 dev eth0 nodad",
                                   "link set eth0 up", "route add 169.254.1.1 dev eth0",
                                   "route add default via 169.254.1.1", "route add ::/0 via fe80::1 dev eth0"])
        self.index = json.loads(run("ip", "-n", node.netns, "-j", "link", "show", self.veth).stdout)[0]["ifindex"]
        self.udp = node.udp(self.netns, PORT)

    def request(self, command="cni.add", **other):
        return {"command": command, "network": "kbr", "container_id": self.id, "ifname": "eth0",
                "netns": f"/run/netns/{self.netns}", "host_interface": self.veth, "host_ifindex": self.index,
                "addresses": [self.v4, self.v6], "pod_namespace": "shop", "pod_name": self.pod,
                "pod_uid": f"uid-{self.pod}", "deadline_ms": 8000, **other}

    def key(self, command="cni.del"):
        return {"command": command, "network": "kbr", "container_id": self.id, "ifname": "eth0"}

    def manifest(self, labels, ips=()):
        """As the API server shows a pod that was just scheduled: without addresses."""
        return {"apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": self.pod, "namespace": "shop", "labels": labels, "uid": f"uid-{self.pod}"},
                "spec": {"nodeName": "node-a", "containers": [{"name": "main"}]},
                "status": {"phase": "Running" if ips else "Pending", "podIPs": [{"ip": ip} for ip in ips]}}

    def unplug(self):
        self.udp.close()
        run("ip", "netns", "del", self.netns)
        self.node.namespaces.remove(self.netns)
        self.node.until(lambda: run("ip", "-n", self.node.netns, "link", "show", self.veth, check=False).returncode,
                        "the host interface goes")


class CniNode(Node):
    def ip_batch(self, netns, lines):
        run("ip", "-n", netns, "-batch", "-", input="\n".join(lines) + "\n")

    def udp(self, netns, port=0):
        with inside(netns):
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind(("0.0.0.0", port))
        s.settimeout(1.0)  # a busy machine is slow
        return s

    def launch(self, *more):
        """Starts the agent and waits for nothing."""
        with open(os.path.join(self.directory, "agent.log"), "a", encoding="utf-8") as log:
            self.agent = subprocess.Popen(
                ["ip", "netns", "exec", self.netns, self.binary, "agent", "--source", f"dir:{self.objects}", "--node",
                 "node-a", "--socket", self.socket, "--state-dir", self.state, "--flow-log", self.flow_log, *more],
                stdout=log, stderr=log)

    def ask(self, request, timeout=15):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.settimeout(timeout)
            s.connect(self.socket)
            s.sendall(json.dumps(request).encode() + b"\n" if isinstance(request, dict) else request)
            answer = b""
            while not answer.endswith(b"\n"):
                more = s.recv(65536)
                if not more:
                    raise ConnectionError("no answer")
                answer += more
        return json.loads(answer)

    def ask_until(self, request, seconds=60):
        """As the plugin does: again and again while the agent is away. The answer, however it is."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return self.ask(request)
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def set_has(self, name, address):
        return self.exec("nft", "get", "element", "inet", "podfence", name, f"{{ {address} }}",
                         check=False).returncode == 0
