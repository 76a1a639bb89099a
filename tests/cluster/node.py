"""A Kubernetes node: a network namespace and a mount namespace of its own, containerd, kubelet, kube-proxy."""
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys

from control_plane import until

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "runtime"))
from host import remove_cgroups, run  # noqa: E402
from image import write_image  # noqa: E402

IMAGE = "localhost/agnhost:1"
DEBIAN_PLUGINS = "/usr/lib/cni"
LAYERS = ("etc", "opt", "var")
BRIDGE, CONTROL, CONTROL6 = "cp0", "10.200.0.1", "fd00:200::1"

CONTAINERD = """version = 3
root = "{root}/containerd"
state = "{root}/containerd-state"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.blockfile",
  "io.containerd.snapshotter.v1.erofs", "io.containerd.nri.v1.nri"]
[grpc]
address = "{root}/containerd.sock"
[ttrpc]
address = "{root}/containerd.sock.ttrpc"
[plugins."io.containerd.cri.v1.images"]
snapshotter = "overlayfs"
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{image}"
[plugins."io.containerd.cri.v1.runtime"]
disable_apparmor = true
restrict_oom_score_adj = true  # a root without CAP_SYS_RESOURCE may not lower it
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
SystemdCgroup = false
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["/opt/cni/bin"]
conf_dir = "/etc/cni/net.d"
[plugins."io.containerd.internal.v1.opt"]
path = "{root}/opt"
"""


class Node:
    """Number N of a control plane: 10.200.0.(10 + N), pods in 10.64.N.0/24 and fd00:64:N::/64."""

    def __init__(self, plane, number, programs, cgroup):
        self.plane, self.number, self.name, self.programs = plane, number, f"node-{number}", programs
        self.address, self.address6 = f"10.200.0.{10 + number}", f"fd00:200::{10 + number:x}"
        self.range, self.range6 = f"10.64.{number}.0/24", f"fd00:64:{number}::/64"
        self.root, self.cgroup = plane.file(self.name), f"{cgroup}/{self.name}"
        self.netns, self.processes = f"/run/netns/{self.name}", {}
        self.others = []
        os.makedirs(self.root)
        self._boot()

    def _boot(self):
        self._link()
        self.holder = subprocess.Popen(["nsenter", f"--net={self.netns}", "unshare", "--mount", "--propagation", "private",
                                        "sh", "-c", self._mounts()], stdout=subprocess.PIPE, text=True)  # fmt: skip
        if self.holder.stdout.readline() != "ready\n":
            raise RuntimeError(f"{self.name}: its mounts failed")
        for other in self.others:
            self.route_to(other)

    def crash(self):
        """Everything that only a running machine has is lost at once: processes, namespaces, what lies in memory."""
        def processes():
            """Its own and those of its containers, whatever their namespaces: they have mounts from its directory."""
            for pid in filter(str.isdigit, os.listdir("/proc")):
                with contextlib.suppress(OSError), open(f"/proc/{pid}/mountinfo", encoding="utf-8") as file:
                    if f"{self.root}/" in file.read():
                        yield int(pid)

        def none_is_left():
            left = list(processes())
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return not left

        until(none_is_left, f"{self.name}: all its processes have ended")
        for process in (self.holder, *self.processes.values()):
            process.wait(30)
        self.processes.clear()
        self.holder.stdout.close()
        run("ip", "link", "del", f"cp-{self.number}")
        run("ip", "netns", "del", self.name)
        remove_cgroups(self.cgroup)

    def reboot(self):
        """With its disks; containerd, kubelet and kube-proxy are not started."""
        self.crash()
        self._move_disks()
        shutil.rmtree(self.file("containerd-state"))
        for name in ("containerd.sock", "containerd.sock.ttrpc"):
            os.remove(self.file(name))
        self._boot()

    def file(self, *parts):
        return os.path.join(self.root, *parts)

    def _link(self):
        end = f"cp-{self.number}"
        run("ip", "netns", "add", self.name)
        run("ip", "link", "add", end, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        run("ip", "link", "set", end, "master", BRIDGE, "up")
        lines = (f"addr add {self.address}/24 dev eth0", f"addr add {self.address6}/64 dev eth0 nodad", "link set lo up",
                 "link set eth0 up", f"route add default via {CONTROL}", f"route add default via {CONTROL6}")
        run("ip", "-n", self.name, "-batch", "-", input="\n".join(lines) + "\n")
        for key in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            run("nsenter", f"--net={self.netns}", "sysctl", "-qw", f"{key}=1")
        run("ip", "route", "replace", self.range, "via", self.address)
        run("ip", "-6", "route", "replace", self.range6, "via", self.address6)

    def add_other(self, other):
        self.others.append(other)
        self.route_to(other)

    def route_to(self, other):
        run("ip", "-n", self.name, "route", "add", other.range, "via", other.address)
        run("ip", "-n", self.name, "-6", "route", "add", other.range6, "via", other.address6)

    def _move_disks(self):
        """The kernel lets go of mounts when it likes, and two overlays of one layer have stale files."""
        for path in LAYERS:
            old, upper = self.file("layers", path, "before"), self.file("layers", path, "upper")
            shutil.rmtree(old, ignore_errors=True)
            os.rename(upper, old)
            run("cp", "-a", old, upper)
            shutil.rmtree(self.file("layers", path, "work"))

    def _mounts(self):
        """What a node has of its own: /etc, /opt and /var are layers above the host's, kept with the node."""
        os.makedirs("/run/podfence", exist_ok=True)
        lines = ["set -e"]
        for path in LAYERS:
            upper, work = self.file("layers", path, "upper"), self.file("layers", path, "work")
            os.makedirs(upper, exist_ok=True)
            os.makedirs(work, exist_ok=True)
            lines.append(f"mount -t overlay -o lowerdir=/{path},upperdir={upper},workdir={work} none /{path}")
        lines += ["mount -t tmpfs none /run/podfence", "mkdir -p /etc/cni/net.d /opt/cni/bin /var/log/pods /var/lib/cni",
                  "echo ready", "exec sleep infinity"]
        return "; ".join(lines)

    def inside(self, *command):
        """The command in this node's namespaces."""
        return ["nsenter", "-t", str(self.holder.pid), "-n", "-m", "--", *command]

    def run(self, *command, **options):
        return run(*self.inside(*command), **options)

    def start(self, name, *command):
        environment = {**os.environ, "PATH": f"{self.programs}:{os.environ['PATH']}"}
        with open(self.file(f"{name}.log"), "a", encoding="utf-8") as log:
            self.processes[name] = subprocess.Popen(self.inside(*command), stdout=log, stderr=log, env=environment)

    def kill(self, name, how=signal.SIGKILL):
        """nsenter has become the command, so it is the process."""
        self.processes[name].send_signal(how)
        self.processes.pop(name).wait(180)

    def log(self, name, size=3000):
        with open(self.file(f"{name}.log"), encoding="utf-8", errors="replace") as file:
            return file.read()[-size:]

    def write(self, path, text):
        """A file as this node sees it."""
        done = subprocess.run(self.inside("sh", "-c", f"cat > {path}.tmp && mv {path}.tmp {path}"), input=text, text=True,
                              capture_output=True)
        if done.returncode != 0:
            raise RuntimeError(f"{self.name}: {path}: {done.stderr}")

    # The runtime -------------------------------------------------------------------------------------------------

    def conflist(self, first="bridge"):
        plugins = [{"type": first, "ipam": {
            "type": "host-local", "ranges": [[{"subnet": self.range}], [{"subnet": self.range6}]],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}}, {"type": "portmap", "capabilities": {"portMappings": True}}]
        if first == "bridge":
            plugins[0].update({"bridge": "cni0", "isGateway": True, "hairpinMode": True})
        return {"cniVersion": "1.0.0", "name": "pods", "plugins": plugins}

    def install_network(self, first="bridge"):
        self.run("cp", "-r", f"{DEBIAN_PLUGINS}/.", "/opt/cni/bin/")
        self.write("/etc/cni/net.d/10-pods.conflist", json.dumps(self.conflist(first)))

    def start_containerd(self):
        self.write(self.file("containerd.toml"), CONTAINERD.format(root=self.root, image=IMAGE))
        self.start("containerd", os.path.join(self.programs, "containerd"), "-c", self.file("containerd.toml"))
        self.until_started("containerd", lambda: os.path.exists(self.file("containerd.sock")))

    def until_started(self, name, condition, seconds=120):
        def alive():
            if self.processes[name].poll() is not None:
                raise RuntimeError(f"{self.name}: {name} has ended: {self.log(name)}")
            return condition()

        return until(alive, f"{self.name}: {name} has started", seconds)

    def ctr(self, *arguments, check=True):
        return self.run(os.path.join(self.programs, "ctr"), "-a", self.file("containerd.sock"), "-n", "k8s.io", *arguments,
                        check=check)

    def tasks(self):
        """Of every container that runs: its first process."""
        words = [line.split() for line in self.ctr("tasks", "ls", check=False).stdout.splitlines()]
        return {w[0]: int(w[1]) for w in words if len(w) > 2 and w[1].isdigit()}

    def add_image(self, tag, program, arguments=()):
        archive = self.file("image.tar")
        write_image(archive, tag, program, arguments)
        self.import_image(archive)
        os.remove(archive)

    def import_image(self, archive):
        self.ctr("images", "import", "--local", archive)

    # Kubernetes --------------------------------------------------------------------------------------------------

    def start_kubelet(self):
        config = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "failCgroupV1": False,
            "cgroupDriver": "cgroupfs", "cgroupRoot": self.cgroup, "cgroupsPerQOS": False, "enforceNodeAllocatable": [],
            "failSwapOn": False, "makeIPTablesUtilChains": False, "resolvConf": "/dev/null", "podLogsDir": self.file("logs"),
            "authentication": {"x509": {"clientCAFile": self.plane.authority.certificate}, "anonymous": {"enabled": True},
                               "webhook": {"enabled": False}}, "authorization": {"mode": "AlwaysAllow"},
            "containerRuntimeEndpoint": f"unix://{self.file('containerd.sock')}", "address": self.address,
            "evictionHard": {"memory.available": "1%", "nodefs.available": "1%", "imagefs.available": "1%"},
            "imageGCHighThresholdPercent": 100, "registerNode": True, "syncFrequency": "10s", "healthzPort": 0,
            "maxPods": 250, "serializeImagePulls": False, "kubeAPIQPS": 100, "kubeAPIBurst": 200,
        }  # fmt: skip
        self.write(self.file("kubelet.json"), json.dumps(config))
        self.start("kubelet", os.path.join(self.programs, "kubelet"), f"--config={self.file('kubelet.json')}",
                   f"--kubeconfig={self.plane.kubeconfig('system:node:' + self.name)}", f"--root-dir={self.file('kubelet')}",
                   f"--cert-dir={self.file('kubelet-pki')}", f"--hostname-override={self.name}",
                   f"--node-ip={self.address},{self.address6}")

    def start_kube_proxy(self):
        self.start("kube-proxy", os.path.join(self.programs, "kube-proxy"), "--proxy-mode=nftables",
                   f"--kubeconfig={self.plane.kubeconfig('system:kube-proxy')}", f"--hostname-override={self.name}",
                   "--conntrack-max-per-core=0", "--conntrack-min=0", "--conntrack-tcp-timeout-established=0",
                   "--conntrack-tcp-timeout-close-wait=0", f"--healthz-bind-address={self.address}:10256",
                   "--cluster-cidr=10.64.0.0/16,fd00:64::/32", f"--nodeport-addresses={self.address}/32,{self.address6}/128")

    def ready(self):
        for node in self.plane.api().list("nodes"):
            if node["metadata"]["name"] == self.name:
                return any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"].get("conditions", []))
        return False

    def close(self):
        self.crash()
