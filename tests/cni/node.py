"""A node for the scripts here: network and mount namespaces of their own, pods in them, and an agent that only says yes."""
import json
import os
import shutil
import signal
import socketserver
import subprocess
import sys
import tempfile
import threading

MARK = "PODFENCE_CNI_NODE"


def enter():
    """Starts this script again in namespaces of its own, in which /run/netns and /var/lib/cni are empty."""
    if os.environ.get(MARK) == "inside":
        return
    if os.geteuid() != 0:
        sys.exit("run as root: network namespaces need it")
    script = (
        "set -e; mount --make-rprivate /; mkdir -p /run/netns /var/lib/cni; mount -t tmpfs none /run/netns; "
        "mount -t tmpfs none /var/lib/cni; ip link set lo up; exec \"$@\""
    )
    command = ["unshare", "--net", "--mount", "sh", "-c", script, "sh", sys.executable, "-B", *sys.argv]
    os.execvpe(command[0], command, {**os.environ, MARK: "inside"})


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout


class Pods:
    """Named network namespaces."""

    def __init__(self):
        self.names = []

    def new(self, name):
        run("ip", "netns", "add", name)
        self.names.append(name)
        return f"/run/netns/{name}"

    def remove(self):
        for name in self.names:
            run("ip", "netns", "del", name)
        self.names = []


class Answering(socketserver.StreamRequestHandler):
    def handle(self):
        request = json.loads(self.rfile.readline())
        self.server.agent.asked.append(request)
        self.wfile.write((json.dumps(self.server.agent.answer(request)) + "\n").encode())


class Server(socketserver.ThreadingUnixStreamServer):
    request_queue_size = 64
    daemon_threads = True


class Agent:
    """Knows the attachments by container and interface, as the real one does."""

    def __init__(self, socket):
        self.asked, self.attachments = [], {}
        self.server = Server(socket, Answering)
        self.server.agent = self
        self.socket = socket
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, request):
        key = (request.get("container_id"), request.get("ifname"))
        match request["command"]:
            case "cni.add":
                self.attachments[key] = request
            case "cni.del":
                self.attachments.pop(key, None)
            case "cni.check" if key not in self.attachments:
                return {"error": f"{key} is not known", "code": 101}
            case "cni.gc":
                valid = {(entry["container_id"], entry["ifname"]) for entry in request["valid"]}
                gone = [key for key, value in self.attachments.items() if key not in valid and value["network"] == request["network"]]
                for key in gone:
                    del self.attachments[key]
                return {"ok": True, "removed": len(gone)}
        return {"ok": True, "pod_known": False}

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        os.unlink(self.socket)


class RealAgent:
    """The program, with the objects of the workspace's folder "objects". Its socket becomes the workspace's."""

    def __init__(self, program, work):
        os.makedirs(work.file("objects"), exist_ok=True)
        work.socket = work.file("run", "agent.sock")
        with open(work.file("agent.log"), "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [program, "agent", "--source", f"dir:{work.file('objects')}", "--node", "node-1", "--state-dir",
                 work.file("state"), "--socket", work.socket, "--flow-log", work.file("flows.jsonl")],
                stdout=log, stderr=log)  # fmt: skip

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait(30)


class Workspace:
    """A directory with the plugins' binaries, links to Debian's beside ours."""

    def __init__(self, plugin, debian="/usr/lib/cni"):
        self.root = tempfile.mkdtemp(prefix="podfence-chains-")
        self.bin = os.path.join(self.root, "bin")
        os.mkdir(self.bin)
        shutil.copy(plugin, os.path.join(self.bin, "podfence-cni"))
        self.path = [self.bin, debian]
        self.socket = os.path.join(self.root, "agent.sock")

    def file(self, *parts):
        return os.path.join(self.root, *parts)

    def ours(self, **keys):
        return {"type": "podfence-cni", "socket": self.socket, "stateDir": self.file("state"), "deadlineSeconds": 5, **keys}

    def remove(self):
        shutil.rmtree(self.root)
