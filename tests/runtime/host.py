"""A container host that leaves nothing behind: namespaces of its own for network, mounts and processes, an outside
behind an uplink, the chain of Debian's CNI plugins with podfence-cni at its end, and the agent."""
import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

MARK, PREFIX = "PODFENCE_RUNTIME_HOST", "podfence-test-"
LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET, PR_SET_PDEATHSIG = 0x40000000, 1
DEBIAN_PLUGINS = "/usr/lib/cni"
NODE, NODE6 = "192.0.2.1", "2001:db8::1"
OUTSIDE, OUTSIDE6 = "192.0.2.7", "2001:db8::7"  # forbidden to most
ALLOWED, ALLOWED6 = "192.0.2.8", "2001:db8::8"  # as distant, and allowed
RANGE, RANGE6 = "10.88.0.0/22", "fd00:88::/64"


def _cgroups():
    """The root of each hierarchy."""
    with open("/proc/self/mounts", encoding="ascii") as mounts:
        return [line.split()[1] for line in mounts if line.split()[2] in ("cgroup", "cgroup2")]


def _remove_cgroup(path):
    for folder, _, _ in os.walk(path, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(folder)


def remove_cgroups(only=None):
    """This process's, and those of runs that were killed; or one, which no process is in."""
    if only:
        for root in _cgroups():
            _remove_cgroup(root + only)
        return
    for path in [os.path.join(root, name) for root in _cgroups() for name in os.listdir(root) if name.startswith(PREFIX)]:
        owner = path.rsplit("-", 1)[1]
        if owner == str(os.getpid()) or not os.path.exists(f"/proc/{owner}"):
            _remove_cgroup(path)


def enter():
    """Runs this script again in namespaces of its own and ends with its status. All processes of it end with it, then
    their cgroups are removed. In there /run and /var/lib/cni are empty, and what is written below them or elsewhere below
    /var/lib stays in memory."""
    if os.environ.get(MARK):
        return
    if os.geteuid() != 0:
        sys.exit("run as root: network namespaces need it")
    script = (
        "set -e; mount --make-rprivate /; mount -t tmpfs -o mode=0755 none /run; mkdir /run/netns /run/upper /run/work; "
        "mount -t overlay -o lowerdir=/var/lib,upperdir=/run/upper,workdir=/run/work none /var/lib; "
        "mkdir -p /var/lib/cni; mount -t tmpfs none /var/lib/cni; ip link set lo up; set +e; \"$@\"; exit $?"
    )
    name = f"{PREFIX}{os.getpid()}"
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script,
               "sh", sys.executable, "-B", *sys.argv]
    try:
        done = subprocess.run(command, env={**os.environ, MARK: name},
                              preexec_fn=lambda: LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
    finally:
        remove_cgroups()
    sys.exit(done.returncode)


def run(*command, check=True, **options):
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}")
    return done


@contextlib.contextmanager
def inside(netns):
    """This thread is in the network namespace of that path for the length of the block."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    there = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if LIBC.setns(there, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns {netns}")
        yield
    finally:
        if LIBC.setns(before, CLONE_NEWNET) != 0:
            os._exit(70)
        os.close(before)
        os.close(there)


def without_dad():
    """Interfaces that this thread's network namespace gets from now on have their addresses at once, not after 1.5 s."""
    for name in ("default", "all"):
        with open(f"/proc/sys/net/ipv6/conf/{name}/accept_dad", "w", encoding="ascii") as file:
            file.write("0")


def blocks(*addresses):
    """As peers of a policy."""
    return [{"ipBlock": {"cidr": f"{address}/{128 if ':' in address else 32}"}} for address in addresses]


def namespace(name):
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"name": name}}}


def node_object():
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}, "spec": {"podCIDRs": [RANGE, RANGE6]},
            "status": {"addresses": [{"type": "InternalIP", "address": NODE}]}}  # fmt: skip


def pod_object(name, ips=(), **labels):
    """As the API server shows a pod that was just scheduled, unless it has addresses."""
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "labels": labels, "uid": f"uid-{name}"},
        "spec": {"nodeName": "node-1", "containers": [{"name": "main"}]},
        "status": {"phase": "Running" if ips else "Pending", "podIPs": [{"ip": ip} for ip in ips]},
    }  # fmt: skip


def policy(name, selector, **spec):
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": "shop", "uid": f"uid-{name}"},
            "spec": {"podSelector": {"matchLabels": selector}, **spec}}  # fmt: skip


class Host:
    """The namespaces that enter() made are the host's. One for each test: close() takes its parts down again."""

    def __init__(self, plugin, agent):
        self.root, self.agent_program, self.agent = tempfile.mkdtemp(prefix="podfence-", dir="/run"), agent, None
        self.bin, self.conf, self.objects = self.file("bin"), self.file("net.d"), self.file("objects")
        for folder in (self.bin, self.conf, self.objects):
            os.mkdir(folder)
        for name in os.listdir(DEBIAN_PLUGINS):
            os.symlink(os.path.join(DEBIAN_PLUGINS, name), os.path.join(self.bin, name))
        shutil.copy(plugin, os.path.join(self.bin, "podfence-cni"))
        self.socket, self.state, self.plugin_log = self.file("run", "agent.sock"), self.file("state"), self.file("cni.log")
        self.cgroup = "/" + os.environ[MARK]
        self._build_outside()
        self.write_world()

    def file(self, *parts):
        return os.path.join(self.root, *parts)

    def _build_outside(self):
        self.outside = "/run/netns/outside"
        run("ip", "netns", "add", "outside")
        lines = ("link add uplink type veth peer name eth0 netns outside", f"addr add {NODE}/24 dev uplink",
                 f"addr add {NODE6}/64 dev uplink nodad", "link set uplink up")
        run("ip", "-batch", "-", input="\n".join(lines) + "\n")
        lines = (f"addr add {OUTSIDE}/24 dev eth0", f"addr add {ALLOWED}/24 dev eth0", f"addr add {OUTSIDE6}/64 dev eth0 nodad",
                 f"addr add {ALLOWED6}/64 dev eth0 nodad", "link set eth0 up", f"route add {RANGE} via {NODE}",
                 f"route add {RANGE6} via {NODE6}")
        run("ip", "-n", "outside", "-batch", "-", input="\n".join(lines) + "\n")
        for key in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            run("sysctl", "-qw", f"{key}=1")
        without_dad()
        for address in (OUTSIDE, ALLOWED, OUTSIDE6, ALLOWED6):  # so that no pod's packet waits for a neighbour
            self.until(lambda: run("ping", "-c1", "-W1", address, check=False).returncode == 0, f"{address} answers")

    # The chain ---------------------------------------------------------------------------------------------------

    def ours(self, **keys):
        return {"type": "podfence-cni", "socket": self.socket, "stateDir": self.state, "deadlineSeconds": 10,
                "logFile": self.plugin_log, **keys}

    def ipam(self, subnets):
        return {"type": "host-local", "dataDir": self.file("ipam"), "ranges": [[{"subnet": s}] for s in subnets],
                "routes": [{"dst": "::/0" if ":" in s else "0.0.0.0/0"} for s in subnets]}

    def conflist(self, first="bridge", *more, name="kbr", subnets=(RANGE,)):
        plugins = [{"type": first, "ipam": self.ipam(subnets)},
                   {"type": "portmap", "capabilities": {"portMappings": True}}]
        if first == "bridge":
            plugins[0].update({"bridge": "cni0", "isGateway": True, "hairpinMode": True})
        return {"cniVersion": "1.0.0", "name": name, "plugins": [*plugins, *more]}

    def write_conflist(self, conflist, file="10-kbr.conflist"):
        """Made in the same folder, for a runtime may not notice what is moved in from elsewhere."""
        path = os.path.join(self.conf, file)
        with open(path + ".tmp", "w", encoding="utf-8") as out:
            json.dump(conflist, out)
        os.rename(path + ".tmp", path)

    def commands(self, container_id=None):
        """What podfence-cni was asked and what it answered, in order."""
        if not os.path.exists(self.plugin_log):
            return []
        with open(self.plugin_log, encoding="utf-8") as log:
            lines = [json.loads(line.split(" ", 1)[1]) for line in log]
        return [line for line in lines if container_id in (None, line["container_id"])]

    def addresses_in_use(self, network="kbr"):
        folder = self.file("ipam", network)
        return {name for name in os.listdir(folder) if name[0].isdigit()} if os.path.isdir(folder) else set()

    # The agent ---------------------------------------------------------------------------------------------------

    def write_world(self, *objects):
        path = os.path.join(self.objects, "world.json")
        with open(path + ".tmp", "w", encoding="utf-8") as out:
            json.dump({"apiVersion": "v1", "kind": "List", "items": [node_object(), namespace("shop"), *objects]}, out)
        os.rename(path + ".tmp", path)

    def launch_agent(self):
        """Waits for nothing."""
        with open(self.file("agent.log"), "a", encoding="utf-8") as log:
            self.agent = subprocess.Popen(
                [self.agent_program, "agent", "--source", f"dir:{self.objects}", "--node", "node-1", "--state-dir",
                 self.state, "--socket", self.socket, "--flow-log", self.file("flows.jsonl"), "--cni"],
                stdout=log, stderr=log)  # fmt: skip

    def start_agent(self):
        self.launch_agent()
        self.until(lambda: self.status().get("enforcing_since"), "the agent enforces")

    def end_agent(self, how=signal.SIGTERM):
        self.agent.send_signal(how)
        self.agent.wait(30)
        self.agent = None

    def status(self):
        answer = subprocess.run([self.agent_program, "status", "--socket", self.socket, "-o", "json"], text=True,
                                capture_output=True)
        return json.loads(answer.stdout) if answer.returncode == 0 else {}

    def attached(self):
        return {a["container_id"] for a in self.status()["attachments"]}

    def set_has(self, name, address):
        command = ("nft", "get", "element", "inet", "podfence", name, f"{{ {address} }}")
        while "Interrupted system call" in (got := run(*command, check=False)).stdout:
            pass  # by a commit
        return got.returncode == 0

    def agent_log(self):
        with open(self.file("agent.log"), encoding="utf-8") as log:
            return log.read()[-4000:]

    def agent_warnings(self):
        with open(self.file("agent.log"), encoding="utf-8") as log:
            return [line.rstrip() for line in log if "level=info" not in line]

    def until(self, condition, what, seconds=30):
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds} s: {what}")
            time.sleep(0.02)

    def close(self):
        if self.agent:
            self.end_agent(signal.SIGKILL)
        run("ip", "link", "del", "uplink")
        run("ip", "netns", "del", "outside")
        run("ip", "link", "del", "cni0", check=False)
        run("nft", "flush", "ruleset")
        shutil.rmtree(self.root, ignore_errors=True)
