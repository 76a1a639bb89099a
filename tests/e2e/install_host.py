"""A node for the installer: directories of its own, Debian's plugins, an agent that says yes, and a runtime that takes
the first list as libcni does, in a loop if asked to."""
import json
import os
import shutil
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cni"))
import node  # noqa: E402  of tests/cni
from driver import Attachment, Driver, PluginError  # noqa: E402

DEBIAN = "/usr/lib/cni"
CHAIN = ("bridge", "host-local", "portmap", "tuning", "loopback")
# What runs under strace cannot look for leaks.
os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
ARGS = [("IgnoreUnknown", "1"), ("K8S_POD_NAMESPACE", "shop"), ("K8S_POD_NAME", "web"), ("K8S_POD_UID", "u-1")]


class Host:
    def __init__(self, program, plugin):
        self.program, self.plugin = program, plugin
        self.work = node.Workspace(plugin)
        self.conf, self.bin, self.state = self.work.file("net.d"), self.work.file("opt"), self.work.file("state")
        os.mkdir(self.conf)
        os.mkdir(self.bin)
        for name in CHAIN:
            shutil.copy(os.path.join(DEBIAN, name), self.bin)
        self.pods = node.Pods()
        self.agent = node.Agent(self.work.socket)

    def remove(self):
        self.agent.stop()
        self.pods.remove()
        subprocess.run(["ip", "link", "del", "cni0"], capture_output=True)
        self.work.remove()

    def network(self, name="10-kbr.conflist", mtu=1450, gap=" "):
        """The text of the network's own list; the installer must not change a byte of it."""
        ipam = {"type": "host-local", "dataDir": self.work.file("ipam"), "ranges": [[{"subnet": "10.77.0.0/16"}]]}
        plugins = [{"type": "bridge", "bridge": "cni0", "isGateway": True, "mtu": mtu, "ipam": ipam},
                   {"type": "portmap", "capabilities": {"portMappings": True}}]
        text = json.dumps({"cniVersion": "1.0.0", "name": "kbr", "x-unknown": [1.50, None], "plugins": plugins}, indent=2)
        return text.replace(": ", ":" + gap) + "\n"

    def write_network(self, name="10-kbr.conflist", **keys):
        """As the network's own installer does it."""
        temporary = os.path.join(self.conf, name + ".part")
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(self.network(**keys))
        os.rename(temporary, os.path.join(self.conf, name))

    def read(self, name="10-kbr.conflist"):
        with open(os.path.join(self.conf, name), encoding="utf-8") as file:
            return file.read()

    def command(self, verb, *more, plugin=None, wait="10"):
        return [self.program, verb, "--conf-dir", self.conf, "--bin-dir", self.bin, "--state-dir", self.state, "--plugin",
                plugin or self.plugin, "--wait", wait, *more]

    def installing(self, *more, **keys):
        return self.command("install-cni", "--socket", self.work.socket, "--plugin-state-dir", self.work.file("plugin-state"),
                            *more, **keys)

    def install(self, *more, code=0, cri=("--cri-socket", "none"), **keys):
        return self.run(*self.installing(*cri, *more, **keys), code=code)

    def uninstall(self, *more, code=0, drain="0.5", cri=("--cri-socket", "none"), **keys):
        results = self.work.file("cache", "results")
        return self.run(*self.command("uninstall-cni", "--drain-seconds", drain, "--cni-results", results, *cri, *more, **keys),
                        code=code)

    @staticmethod
    def run(*command, code=0):
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if done.returncode != code:
            raise AssertionError(f"{command} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def status(self):
        with open(os.path.join(self.state, "cni-install.json"), encoding="utf-8") as file:
            return json.load(file)

    def first_text(self):
        """The name and the text of bytewise the first file with one of libcni's endings. A name that is gone by the time
        that it is read has changed the directory, upon which a runtime lists it again (containerd and CRI-O watch it)."""
        for _ in range(100):
            names = sorted(name for name in os.listdir(self.conf)
                           if name.endswith((".conf", ".conflist", ".json")) and not os.path.isdir(os.path.join(self.conf, name)))
            try:
                return names[0], self.read(names[0])
            except FileNotFoundError:
                continue
        raise AssertionError("no list stays long enough to be read")

    def first_list(self):
        """What libcni takes; a single plugin becomes a list."""
        name, text = self.first_text()
        conf = json.loads(text)
        if not name.endswith(".conflist"):
            conf = {"cniVersion": conf["cniVersion"], "name": conf["name"], "plugins": [conf]}
        return conf

    def driver(self):
        return Driver(self.first_list(), [self.bin], self.work.file("cache"))

    def chained(self):
        return [plugin["type"] for plugin in self.first_list()["plugins"]].count("podfence-cni")

    def live(self, name):
        """One pod's life with the list of this moment; how many entries of ours were in it."""
        driver = self.driver()
        pod = Attachment(name, self.pods.new(name), args=ARGS, capability_args={"portMappings": []})
        driver.add(pod)
        driver.check(pod)
        driver.delete(pod)
        return [plugin["type"] for plugin in driver.list["plugins"]].count("podfence-cni")


class Loop:
    """Pods that come and go all the time. A runtime keeps a list for a whole life of ADD, CHECK and DEL here, though the
    list on disk may change in between."""

    def __init__(self, host, name="loop"):
        self.host, self.name, self.lives, self.failures = host, name, [], []
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        while not self.stop.is_set():
            begin = time.monotonic()
            try:
                entries = self.host.live(f"{self.name}{len(self.lives)}")
                self.lives.append((begin, time.monotonic(), entries))
            except Exception as error:  # whatever it is, the pod did not start
                self.failures.append(f"{type(error).__name__}: {error}")
                self.lives.append((begin, time.monotonic(), None))

    def wait_for(self, lives):
        target = len(self.lives) + lives
        while len(self.lives) < target:
            time.sleep(0.01)

    def end(self):
        self.stop.set()
        self.thread.join()
        return self.lives


__all__ = ["Attachment", "Driver", "Host", "Loop", "PluginError", "node"]
