"""Debian's containerd with everything of it below one directory, and an image made of one program."""
import os
import subprocess

from cri import Cri
from image import write_image

CONFIG = """version = 2
root = "{root}/root"
state = "{root}/state"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
address = "{root}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
path = "{root}/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{image}"
disable_apparmor = true
restrict_oom_score_adj = true  # a root without CAP_SYS_RESOURCE may not lower it
stream_server_address = "127.0.0.1"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{bin_dir}"
conf_dir = "{conf_dir}"
max_conf_num = 1
"""


class Containerd:
    def __init__(self, host, image):
        """`image`: what every sandbox runs."""
        self.host, self.root = host, host.file("containerd")
        self.socket = os.path.join(self.root, "containerd.sock")
        os.makedirs(self.root)
        config = os.path.join(self.root, "config.toml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(CONFIG.format(root=self.root, image=image, bin_dir=host.bin, conf_dir=host.conf))
        self.log = os.path.join(self.root, "containerd.log")
        with open(self.log, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(["containerd", "-c", config], stdout=log, stderr=log)
        self.cri = Cri(self.socket)
        host.until(lambda: os.path.exists(self.socket), "containerd listens")

    def add_image(self, tag, program, arguments=()):
        file = os.path.join(self.root, "image.tar")
        write_image(file, tag, program, arguments)
        done = subprocess.run(["ctr", "-a", self.socket, "-n", "k8s.io", "images", "import", file],
                              capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"ctr images import: {done.stdout}{done.stderr}")
        self.host.until(lambda: tag in self.cri.images(), f"the runtime has {tag}")

    def warnings(self):
        with open(self.log, encoding="utf-8") as log:
            return "".join(line for line in log if "level=error" in line or "level=fatal" in line)[-4000:]

    def close(self):
        self.cri.close()
        self.process.terminate()
        self.process.wait(30)
