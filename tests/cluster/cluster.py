"""A two-node Kubernetes cluster in namespaces of its own: as `up` starts it for a person, and as tests do."""
import os
import subprocess
import sys
import tempfile
import time

from control_plane import ControlPlane, until
from node import BRIDGE, CONTROL, CONTROL6, IMAGE, Node

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "runtime"))
from host import MARK, run, without_dad  # noqa: E402

NETWORKS = ("bridge", "ptp")  # the main plugin of each node


def programs(folder):
    """Where the Go programs of that folder's go.mod are; built once."""
    here = os.path.dirname(os.path.abspath(__file__))
    script = os.path.join(here, "..", "support", "go_programs.sh")
    return subprocess.run([script, os.path.join(here, folder)], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


class Cluster:
    """In the namespaces that host.enter() made: all of it ends with them."""

    def __init__(self, kubernetes, containerd, nodes=2):
        self.kubernetes = kubernetes
        self.root = tempfile.mkdtemp(prefix="podfence-cluster-", dir="/run")
        without_dad()
        run("ip", "link", "add", BRIDGE, "type", "bridge")
        run("ip", "addr", "add", f"{CONTROL}/24", "dev", BRIDGE)
        run("ip", "addr", "add", f"{CONTROL6}/64", "dev", BRIDGE, "nodad")
        run("ip", "link", "set", BRIDGE, "up")
        for key in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            run("sysctl", "-qw", f"{key}=1")
        self.plane = ControlPlane(os.path.join(self.root, "plane"), kubernetes, CONTROL)
        cgroup = "/" + os.environ[MARK]
        both = self._both(kubernetes, containerd)
        self.nodes = [Node(self.plane, number, both, cgroup) for number in range(1, nodes + 1)]
        for node in self.nodes:
            self.plane.add_user(f"system:node:{node.name}", "system:nodes")
            for other in self.nodes:
                if other is not node:
                    node.add_other(other)

    def _both(self, *folders):
        """One folder with the programs of all."""
        both = os.path.join(self.root, "bin")
        os.makedirs(both)
        for folder in folders:
            for name in os.listdir(folder):
                if os.access(os.path.join(folder, name), os.X_OK):
                    os.symlink(os.path.join(folder, name), os.path.join(both, name))
        return both

    def start_plane(self, *controllers):
        self.plane.start_etcd()
        self.plane.start_api_server()
        self.plane.wait_ready()
        self.plane.start_controllers(*controllers)
        self.plane.start_scheduler()

    def start(self, *controllers):
        """`controllers`: options of the controller manager."""
        begin = time.monotonic()
        self.start_plane(*controllers)
        print(f"  control plane ready after {time.monotonic() - begin:.1f} s", flush=True)
        for node, network in zip(self.nodes, NETWORKS):
            node.install_network(network)
            node.start_containerd()
            node.add_image(IMAGE, os.path.join(self.kubernetes, "agnhost"), ["pause"])
            node.start_kubelet()
            node.start_kube_proxy()
        for node in self.nodes:
            node.until_started("kubelet", node.ready)
        self.set_ranges()
        print(f"  {len(self.nodes)} nodes ready after {time.monotonic() - begin:.1f} s", flush=True)
        return self

    def set_ranges(self):
        """What --allocate-node-cidrs would do, with ranges that the routes know."""
        api = self.plane.api()
        for node in self.nodes:
            api.patch("nodes", node.name, {"spec": {"podCIDR": node.range, "podCIDRs": [node.range, node.range6]}})

    def api(self):
        return self.plane.api()

    def kubectl(self, *arguments, check=True, **options):
        command = [os.path.join(self.kubernetes, "kubectl"), f"--kubeconfig={self.plane.kubeconfig('admin')}", *arguments]
        return run(*command, check=check, **options)

    def pods(self, namespace=None):
        return {p["metadata"]["name"]: p for p in self.api().list("pods", namespace)}

    def until_running(self, namespace, *names, seconds=120):
        """The pods, each with its addresses."""

        def running():
            pods = self.pods(namespace)
            return all(n in pods and pods[n]["status"].get("phase") == "Running" and pods[n]["status"].get("podIPs")
                       for n in names) and {n: pods[n] for n in names}  # fmt: skip

        return until(running, f"{', '.join(names)} run", seconds)

    def close(self):
        for node in self.nodes:
            node.close()
        self.plane.close()
