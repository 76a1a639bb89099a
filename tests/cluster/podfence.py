"""Podfence on the cluster, as its users install it: the image of deploy/image, the chart of deploy/helm."""
import json
import os
import shutil
import subprocess

from control_plane import until

from image import write_folder_image  # from tests/runtime

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
CHART = os.path.join(ROOT, "deploy", "helm", "podfence")
IMAGE = "localhost/podfence:test"
SYSTEM = "kube-system"


class Podfence:
    def __init__(self, cluster, program, plugin, helm):
        """`helm`: the program."""
        self.cluster, self.helm = cluster, helm
        prefix, root = os.path.join(cluster.root, "prefix"), os.path.join(cluster.root, "rootfs")
        for source, name in ((program, "bin/podfence"), (plugin, "lib/cni/podfence-cni")):
            os.makedirs(os.path.dirname(os.path.join(prefix, name)), exist_ok=True)
            shutil.copy(source, os.path.join(prefix, name))
        subprocess.run([os.path.join(ROOT, "deploy", "image", "rootfs.sh"), prefix, root], check=True)
        archive = os.path.join(cluster.root, "podfence.tar")
        write_folder_image(archive, IMAGE, root, "/bin/podfence")
        for node in cluster.nodes:
            node.import_image(archive)

    def install(self, *options, chain="00-podfence.conflist"):
        """With everything that the API server can check of itself. `chain`: the file by which the plugin is in the chain."""
        repository, tag = IMAGE.split(":")
        command = [self.helm, "upgrade", "--install", "podfence", CHART, "--namespace", SYSTEM, "--kubeconfig",
                   self.cluster.plane.kubeconfig("admin"), "--set", f"image.repository={repository},image.tag={tag}",
                   "--set", "flowSchema.enabled=true", *options]  # fmt: skip
        home = {**os.environ, "HOME": self.cluster.root}
        for more in (["--dry-run=server"], []):
            done = subprocess.run(command + more, capture_output=True, text=True, env=home)
            if done.returncode != 0:
                raise RuntimeError(f"helm: {done.stdout[-2000:]}{done.stderr}")
        self.cluster.kubectl("rollout", "status", "-n", SYSTEM, "daemonset/podfence", "--timeout=240s", check=False)
        self.until_ready()
        for node in self.cluster.nodes:
            until(lambda node=node: self.status(node).get("cni_install", {}).get("file") == chain, f"{node.name}: {chain} is there")

    def pods(self):
        """Of the DaemonSet, by node."""
        pods = self.cluster.api().list("pods", SYSTEM)
        return {p["spec"]["nodeName"]: p for p in pods if p["metadata"]["labels"].get("app.kubernetes.io/name") == "podfence"
                and "nodeName" in p["spec"]}  # fmt: skip

    def until_ready(self):
        def ready():
            pods = self.pods()
            return len(pods) == len(self.cluster.nodes) and all(
                all(c["ready"] for c in p["status"].get("containerStatuses", [{"ready": False}])) for p in pods.values())

        try:
            until(ready, "podfence is ready on every node", 120)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.words()}") from error

    def words(self):
        """What the pods say of themselves."""
        parts = [self.cluster.kubectl("get", "pods", "-n", SYSTEM, "-o", "wide", check=False).stdout,
                 self.cluster.kubectl("describe", "pods", "-n", SYSTEM, check=False).stdout[-4000:]]
        for pod in self.pods().values():
            for container in ("agent", "install-cni"):
                parts.append(self.cluster.kubectl("logs", "-n", SYSTEM, pod["metadata"]["name"], "-c", container, "--tail=30",
                                                  check=False).stdout)
        return "\n".join(parts)

    def status(self, node):
        pod = self.pods()[node.name]["metadata"]["name"]
        answer = self.cluster.kubectl("exec", "-n", SYSTEM, pod, "-c", "agent", "--", "/bin/podfence", "status", "-o", "json")
        return json.loads(answer.stdout)
