"""Podfence on the cluster, as its users install it: the image of deploy/image, the chart of deploy/helm."""
import json
import os
import shutil
import subprocess

from control_plane import until

from image import write_folder_image  # from tests/runtime

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
CHART = os.path.join(ROOT, "deploy", "helm", "podfence")
IMAGE, OTHER_IMAGE = "localhost/podfence:test", "localhost/podfence:next"
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
        for image in (IMAGE, OTHER_IMAGE):
            archive = os.path.join(cluster.root, "podfence.tar")
            write_folder_image(archive, image, root, "/bin/podfence")
            for node in cluster.nodes:
                node.import_image(archive)

    def run_helm(self, *arguments):
        command = [self.helm, *arguments, "--namespace", SYSTEM, "--kubeconfig", self.cluster.plane.kubeconfig("admin")]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "HOME": self.cluster.root})
        if done.returncode != 0:
            raise RuntimeError(f"{command}: {done.stdout[-2000:]}{done.stderr}\n{self.words()}")

    def upgrade(self, *options, image=IMAGE):
        repository, tag = image.split(":")
        command = ["upgrade", "--install", "podfence", CHART, "--set", f"image.repository={repository},image.tag={tag}", *options]
        self.run_helm(*command, "--dry-run=server")
        self.run_helm(*command)

    def to_other_image(self):
        self.upgrade("--reuse-values", "--wait", "--timeout=240s", image=OTHER_IMAGE)
        self.until_ready()

    def rollback(self):
        self.run_helm("rollback", "podfence", "--wait", "--timeout=240s")
        self.until_ready()

    def images(self):
        """Of the agents that run."""
        return {c["image"] for pod in self.pods().values() for c in pod["spec"]["containers"]}

    def uninstall(self):
        """As the chart's notes say."""
        self.upgrade("--reuse-values", "--set", "uninstall.enabled=true,uninstall.purge=true", "--wait", "--timeout=240s")
        self.run_helm("uninstall", "podfence", "--wait", "--timeout=240s")

    def install(self, *options, chain="00-podfence.conflist"):
        """With everything that the API server can check of itself. `chain`: the file by which the plugin is in the chain."""
        self.upgrade("--set", "flowSchema.enabled=true", *options)
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
            for container in (c["name"] for c in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]):
                parts.append(self.cluster.kubectl("logs", "-n", SYSTEM, pod["metadata"]["name"], "-c", container, "--tail=30",
                                                  check=False).stdout)
        return "\n".join(parts)

    def status(self, node):
        return json.loads(self.run(node, "status", "-o", "json").stdout)

    def run(self, node, *command, check=True):
        """The program in the node's agent."""
        pod = self.pods()[node.name]["metadata"]["name"]
        return self.cluster.kubectl("exec", "-n", SYSTEM, pod, "-c", "agent", "--", "/bin/podfence", *command, check=check)
