"""Debian's containerd with directories of its own, for its CRI service: no pod is started with it."""
import os
import subprocess
import time

CONFIG = """version = 2
root = "{root}/root"
state = "{root}/state"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs"]
[grpc]
  address = "{socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{root}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  disable_apparmor = true
  disable_tcp_service = true
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{bin}"
  conf_dir = "{conf}"
  max_conf_num = {most}
"""


class Containerd:
    def __init__(self, root, conf, bin_dir, most=1):
        self.root, self.socket = root, os.path.join(root, "containerd.sock")
        os.makedirs(root)
        with open(os.path.join(root, "config.toml"), "w", encoding="ascii") as file:
            file.write(CONFIG.format(root=root, socket=self.socket, bin=bin_dir, conf=conf, most=most))
        with open(os.path.join(root, "log"), "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(["containerd", "-c", os.path.join(root, "config.toml")], stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while "containerd successfully booted" not in self.log():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"containerd does not start: {self.log()[-3000:]}")
            time.sleep(0.05)

    def log(self):
        with open(os.path.join(self.root, "log"), encoding="utf-8") as file:
            return file.read()

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
