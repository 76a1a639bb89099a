#!/usr/bin/env python3
"""What agents cost the API server, by what they watch; no part of the CI run:
server_figures.py --program PODFENCE [--agents N] [--pods N] [--policies N] [--changes N]

A real kube-apiserver with its database, a crowd of pods and policies, and one agent for each of so many of its nodes, each
in a network namespace of its own. Labels of pods all over the cluster change, first without agents, then with agents that
watch as needed, then with agents that watch everything, then without again: what is more than without is theirs.
"""
import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time

from cluster import programs
from control_plane import ControlPlane, until
from crowd import cpu_seconds, fill, relabel, resident

from host import enter, run  # noqa: E402, from tests/runtime

SERVER, BRIDGE = "10.200.0.1", "agents"


class Agent:
    """Of a node of the crowd's."""

    def __init__(self, program, number, folder):
        self.program, self.node, self.netns = program, f"distant-{number}", f"agent-{number}"
        self.folder = os.path.join(folder, self.netns)
        self.socket = os.path.join(self.folder, "run", "agent.sock")
        os.makedirs(self.folder)
        run("ip", "netns", "add", self.netns)
        run("ip", "-n", self.netns, "link", "set", "lo", "up")
        run("ip", "link", "add", self.netns, "type", "veth", "peer", "name", "eth0", "netns", self.netns)
        run("ip", "link", "set", self.netns, "master", BRIDGE, "up")
        run("ip", "-n", self.netns, "addr", "add", f"10.200.{1 + number // 250}.{1 + number % 250}/16", "dev", "eth0")
        run("ip", "-n", self.netns, "link", "set", "eth0", "up")

    def start(self, kubeconfig, watch):
        state = os.path.join(self.folder, f"state-{watch}")
        os.mkdir(state)
        with open(os.path.join(self.folder, "log"), "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", self.netns, self.program, "agent", "--source", "kubernetes", "--kubeconfig", kubeconfig,
                 "--node", self.node, "--watch", watch, "--socket", self.socket, "--state-dir", state, "--flow-log",
                 os.path.join(self.folder, "flows")], stdout=log, stderr=log)  # fmt: skip

    def status(self):
        done = run("ip", "netns", "exec", self.netns, self.program, "status", "--socket", self.socket, "-o", "json", check=False)
        return json.loads(done.stdout) if done.returncode == 0 else {}

    def enforces(self):
        if self.process.poll() is not None:
            with open(os.path.join(self.folder, "log"), encoding="utf-8") as log:
                raise RuntimeError(f"the agent of {self.node} has ended: {log.read()[-2000:]}")
        status = self.status()
        return status.get("enforcing_since") and all(t["synced"] for t in status["kubernetes"])

    def received(self):
        types = [t for t in self.status()["kubernetes"] if "pods" in t["type"]]
        return sum(t["events"] for t in types), sum(t["bytes"] for t in types)

    def end(self):
        self.process.kill()
        self.process.wait()


class Cost:
    def __init__(self, plane, options):
        self.plane, self.options, self.round = plane, options, 0

    def of_changes(self, agents):
        """Of each: the API server's CPU time, and of each agent's what it received."""
        count, server, etcd = self.options.changes, *(self.plane.processes[n].pid for n in ("kube-apiserver", "etcd"))
        before = [agent.received() for agent in agents]
        cpu = cpu_seconds(server), cpu_seconds(etcd)
        self.round += 1
        relabel(self.plane.api(), count, value=str(self.round))
        time.sleep(2)  # watches are served a little later
        spent = cpu_seconds(server) - cpu[0], cpu_seconds(etcd) - cpu[1]
        after = [agent.received() for agent in agents]
        each = max(1, len(agents)) * count
        events, size = (sum(b[i] - a[i] for a, b in zip(before, after)) / each for i in (0, 1))
        return 1e6 * spent[0] / count, 1e6 * spent[1] / count, events, size

    def show(self, what, agents):
        server, etcd, events, size = self.of_changes(agents)
        print(f"  {what:12} a change: API server {server:7.0f} us, etcd {etcd:5.0f} us; an agent gets {events:6.3f} events, "
              f"{size:7.0f} bytes", flush=True)
        return server, events, size


def measure(plane, options, folder):
    api = plane.api()
    fill(api, options.pods, options.policies, accounts=False)
    agents = [Agent(options.program, number, folder) for number in range(options.agents)]
    for agent in agents:
        api.create("nodes", {"metadata": {"name": agent.node}})
    cost, found, kubeconfig = Cost(plane, options), {}, plane.kubeconfig("admin")
    for _ in range(3):
        cost.of_changes([])  # until what the crowd's arrival left to do is done
    without = [cost.show("no agent", [])[0]]
    for watch in ("needed", "cluster"):
        for agent in agents:
            agent.start(kubeconfig, watch)
        for agent in agents:
            until(agent.enforces, f"{agent.node} is enforced", 300)
        time.sleep(15)  # checkpoints are written
        found[watch] = cost.show(watch, agents)
        memory = sorted(resident(agent.process.pid)[0] for agent in agents)
        print(f"  {'':12} an agent takes {memory[len(memory) // 2]:.1f} MB, at most {memory[-1]:.1f}", flush=True)
        for agent in agents:
            agent.end()
        time.sleep(5)
        without.append(cost.show("no agent", [])[0])
    noise = max(without) - min(without)
    print(f"  {len(agents)} agents; without any between {min(without):.0f} and {max(without):.0f} us a change, which is "
          f"{noise / len(agents):.1f} us for each of them", flush=True)
    costs = {}
    for number, (watch, (server, events, size)) in enumerate(found.items()):
        costs[watch] = (server - (without[number] + without[number + 1]) / 2) / len(agents)  # before and after
        print(f"  {watch:12} API server {costs[watch]:6.1f} us, {events:6.3f} events and {size:6.0f} bytes for each agent and change",
              flush=True)
    print(f"  needed : cluster = {costs['needed'] / costs['cluster']:.3f} of the CPU time, "
          f"{found['needed'][2] / found['cluster'][2]:.3f} of the bytes", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", required=True, type=os.path.abspath)
    for name, value in (("agents", 40), ("pods", 10_000), ("policies", 1_000), ("changes", 2_000)):
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    enter()
    run("ip", "link", "add", BRIDGE, "type", "bridge")
    run("ip", "addr", "add", f"{SERVER}/16", "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")
    folder = tempfile.mkdtemp(prefix="podfence-cost-", dir="/run")
    plane = ControlPlane(os.path.join(folder, "plane"), programs("kubernetes"), SERVER)
    with contextlib.closing(plane):
        plane.start_etcd()
        plane.start_api_server("--disable-admission-plugins=ServiceAccount")
        plane.wait_ready()
        measure(plane, options, folder)


if __name__ == "__main__":
    sys.exit(main())
