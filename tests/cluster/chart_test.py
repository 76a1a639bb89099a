#!/usr/bin/env python3
"""The chart of deploy/helm and the manifests of deploy/kustomize: chart_test.py"""
import os
import re
import shutil
import subprocess
import tempfile
import unittest

import yaml
from cluster import programs

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
CHART = os.path.join(ROOT, "deploy", "helm", "podfence")
KUSTOMIZE = os.path.join(ROOT, "deploy", "kustomize")
HELM = KUBECTL = None


def setUpModule():
    global HELM, KUBECTL
    HELM, KUBECTL = os.path.join(programs("helm"), "helm"), os.path.join(programs("kubernetes"), "kubectl")


def run(*command, code=0):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != code:
        raise AssertionError(f"{command} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def objects(text):
    """By kind and name, the image's name apart."""
    text = re.sub(r"image: \S+", "image: podfence", text)
    return {(o["kind"], o["metadata"]["name"]): o for o in yaml.safe_load_all(text) if o}


def rendered(*options):
    return objects(run(HELM, "template", "podfence", CHART, "--namespace", "kube-system", *options))


def containers(daemonset):
    return {c["name"]: c for c in daemonset["spec"]["template"]["spec"]["containers"]}


def kustomization(test, resource, **more):
    """A folder with one about what lies in that folder, or in ours."""
    folder = os.path.realpath(tempfile.mkdtemp())
    test.addCleanup(shutil.rmtree, folder)
    relative = lambda path: os.path.relpath(os.path.realpath(path), folder)
    if "components" in more:
        more["components"] = [relative(path) for path in more["components"]]
    with open(os.path.join(folder, "kustomization.yaml"), "w", encoding="utf-8") as file:
        yaml.safe_dump({"resources": [relative(resource)], **more}, file)
    return folder


class Chart(unittest.TestCase):
    def kustomized(self, *components):
        folder = kustomization(self, KUSTOMIZE, components=[os.path.join(KUSTOMIZE, c) for c in components])
        return objects(run(KUBECTL, "kustomize", folder))

    def test_lint(self):
        run(HELM, "lint", "--strict", CHART)

    def test_as_it_is_it_is_what_kustomize_makes(self):
        self.assertEqual(rendered(), self.kustomized())

    def test_with_events_too(self):
        made = self.kustomized("flow-events")
        found = rendered("--set", "agent.flowEvents=true")
        self.assertEqual(found, made)
        self.assertIn("--flow-events", containers(found["DaemonSet", "podfence"])["agent"]["args"])
        self.assertEqual([rule for rule in found["ClusterRole", "podfence"]["rules"] if "create" in rule["verbs"]],
                         [{"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]}])

    def test_uninstalling_too(self):
        self.assertEqual(rendered("--set", "uninstall.enabled=true"), self.kustomized("uninstall"))
        self.assertEqual(rendered("--set", "uninstall.enabled=true,agent.flowEvents=true"),
                         self.kustomized("flow-events", "uninstall"))

    def test_uninstalling_keeps_what_was_set(self):
        """The image above all, wherever in the tree of kustomizations it was."""
        base = kustomization(self, KUSTOMIZE, images=[{"name": "podfence", "newName": "registry/mine"}])
        text = run(KUBECTL, "kustomize", kustomization(self, base, components=[os.path.join(KUSTOMIZE, "uninstall")]))
        self.assertEqual(re.findall(r"image: (\S+)", text), ["registry/mine", "registry/mine"])

    def test_its_version_is_the_projects(self):
        with open(os.path.join(ROOT, "CMakeLists.txt"), encoding="utf-8") as file:
            version = re.search(r"project\(\s*podfence[^)]*VERSION ([0-9.]+)", file.read(), re.I).group(1)
        with open(os.path.join(CHART, "Chart.yaml"), encoding="utf-8") as file:
            chart = yaml.safe_load(file)
        self.assertEqual((chart["version"], chart["appVersion"]), (version, version))

    def test_least_privilege(self):
        """Capabilities, and what may be asked of the API server, in every form."""
        for options in ((), ("--set", "flowSchema.enabled=true,serviceMonitor.enabled=true,cni.mode=in-place")):
            found = rendered(*options)
            added = {name: c["securityContext"]["capabilities"].get("add", [])
                     for name, c in containers(found["DaemonSet", "podfence"]).items()}
            self.assertEqual(added, {"agent": ["NET_ADMIN"], "install-cni": []})
            for container in containers(found["DaemonSet", "podfence"]).values():
                self.assertTrue(container["securityContext"]["readOnlyRootFilesystem"])
                self.assertFalse(container["securityContext"]["allowPrivilegeEscalation"])
                self.assertNotIn("privileged", container["securityContext"])
            rules = found["ClusterRole", "podfence"]["rules"]
            self.assertEqual({verb for rule in rules for verb in rule["verbs"]}, {"list", "watch"})

    def test_uninstalling_needs_no_more(self):
        spec = rendered("--set", "uninstall.enabled=true")["DaemonSet", "podfence"]["spec"]["template"]["spec"]
        self.assertFalse(spec["automountServiceAccountToken"])
        self.assertEqual([c["name"] for c in spec["initContainers"] + spec["containers"]], ["uninstall", "done"])
        for container in spec["initContainers"] + spec["containers"]:
            self.assertEqual(container["securityContext"], {
                "runAsUser": 0, "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}})  # fmt: skip
            self.assertNotIn("--purge", container["args"])

    def test_labels_in_flow_records_and_variables_of_the_agent(self):
        options = ("--set", "agent.flowLabels={app,example.com/tier}",
                   "--set", "agent.env[0].name=HTTPS_PROXY,agent.env[0].value=http://proxy:3128")
        agent = containers(rendered(*options)["DaemonSet", "podfence"])["agent"]
        self.assertIn("--flow-labels=app,example.com/tier", agent["args"])
        self.assertEqual([v["name"] for v in agent["env"]], ["NODE_NAME", "HTTPS_PROXY"])
        self.assertEqual(agent["env"][1], {"name": "HTTPS_PROXY", "value": "http://proxy:3128"})
        run(HELM, "lint", "--strict", CHART, *options)
        alone = containers(rendered()["DaemonSet", "podfence"])["agent"]
        self.assertFalse([a for a in alone["args"] if a.startswith("--flow-labels")])

    def test_values(self):
        found = rendered("--set", "agent.cluster=prod,agent.httpAddress=0.0.0.0:9000,cni.mode=in-place,maxUnavailable=10%",
                         "--set", "agent.extraArgs={--journald}", "--set", "serviceMonitor.enabled=true",
                         "--set", "flowSchema.enabled=true")  # fmt: skip
        parts = containers(found["DaemonSet", "podfence"])
        for argument in ("--cluster=prod", "--journald", "--http-address=0.0.0.0:9000"):
            self.assertIn(argument, parts["agent"]["args"])
        self.assertEqual(parts["agent"]["livenessProbe"]["httpGet"], {"host": "127.0.0.1", "port": 9000, "path": "/livez"})
        self.assertIn("--mode=in-place", parts["install-cni"]["args"])
        self.assertEqual(found["Service", "podfence"]["spec"]["ports"][0]["port"], 9000)
        self.assertIn(("ServiceMonitor", "podfence"), found)
        self.assertIn(("FlowSchema", "podfence"), found)
        alone = containers(rendered("--set", "cni.enabled=false")["DaemonSet", "podfence"])
        self.assertEqual(list(alone), ["agent"])
        self.assertNotIn("--cni", alone["agent"]["args"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
