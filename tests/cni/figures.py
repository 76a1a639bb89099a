#!/usr/bin/env python3
"""Time and memory of podfence-cni beside Debian's tuning and firewall in one run:
figures.py --plugin PROGRAM [--agent PROGRAM [--elements N] [--outside-ranges] [--pause S]] [-n N]; without an agent it
is one that only says yes.
The method is in README.md of this folder."""
import argparse
import json
import os
import re
import subprocess
import time

import node

COMMANDS = ("VERSION", "ADD", "CHECK", "DEL")
MEMORY_ROUNDS = 20
FIELD = ("podfence-cni", "tuning", "firewall")


def start(program, text, variables):
    """Its process id, and where its output comes out."""
    give, take = os.pipe(), os.pipe()
    os.write(give[1], text)
    actions = [(os.POSIX_SPAWN_DUP2, give[0], 0), (os.POSIX_SPAWN_DUP2, take[1], 1)]
    pid = os.posix_spawn(program, [program], variables, file_actions=actions)
    for fd in (give[0], give[1], take[1]):
        os.close(fd)
    return pid, take[0]


def finish(program, pid, output):
    out = b""
    while part := os.read(output, 65536):
        out += part
    os.close(output)
    status = os.waitpid(pid, 0)[1]
    if status != 0:
        raise RuntimeError(f"{program}: {status}: {out.decode()}")
    return out


def timed(program, text, variables):
    """Seconds from the start of the program to its end."""
    begin = time.perf_counter()
    finish(program, *start(program, text, variables))
    return time.perf_counter() - begin


def peak_memory(program, text, variables):
    """KiB, as far as one can see it from outside: ru_maxrss would count this script, of which the program is a child."""
    pid, output = start(program, text, variables)
    peak = 0
    with open(f"/proc/{pid}/status", "rb", buffering=0) as status:
        while found := re.search(rb"VmHWM:\s+(\d+)", os.pread(status.fileno(), 4096, 0)):
            peak = int(found[1])
    finish(program, pid, output)
    return peak


def pod_object(namespace, name, node_name, *addresses):
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace, "uid": f"u-{name}"},
        "spec": {"nodeName": node_name, "containers": [{"name": "main"}]},
        "status": {"phase": "Running" if addresses else "Pending", "podIPs": [{"ip": ip} for ip in addresses]},
    }  # fmt: skip


def write_world(folder, elements, pod_cidrs):
    """The pod that is plugged in and out is isolated and has as many peers on other nodes; a second pod of its kind keeps
    them in the kernel meanwhile. The addresses of a node's pod ranges are closed while they are nobody's; others may have
    flows from before, and ADD has to walk the node's connections. So it has to for one that was a pod's just before."""
    peer = {"namespaceSelector": {"matchLabels": {"of": "peers"}}}
    objects = [
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}, "spec": {"podCIDRs": pod_cidrs}},
        *({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": n, "labels": {"of": n}}} for n in ("shop", "peers")),
        {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "peers", "namespace": "shop"},
         "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [{"from": [peer]}]}},
        pod_object("shop", "pod", "node-1"), pod_object("shop", "stays", "node-1", "10.78.0.2"),
        *(pod_object("peers", f"peer{i}", "node-2", f"10.{100 + i // 65536}.{i // 256 % 256}.{i % 256}") for i in range(elements)),
    ]  # fmt: skip
    os.makedirs(folder)
    with open(os.path.join(folder, "world.json"), "w", encoding="utf-8") as file:
        json.dump({"apiVersion": "v1", "kind": "List", "items": objects}, file)


def elements_in_kernel():
    listed = json.loads(node.run("nft", "-j", "list", "table", "inet", "podfence"))["nftables"]
    return sum(len(entry[kind].get("elem", ())) for entry in listed for kind in ("set", "map") if kind in entry)


def wait_until_enforcing(program, work, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done = subprocess.run([program, "status", "--socket", work.socket, "-o", "json"], capture_output=True, text=True)
        if done.returncode == 0 and json.loads(done.stdout).get("enforcing_since"):
            return
        time.sleep(0.1)
    raise RuntimeError(f"the agent does not enforce after {seconds} s")


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


class Bench:
    def __init__(self, work, pod, previous):
        self.work, self.pod, self.previous = work, pod, previous

    def conf(self, kind):
        mine = {"podfence-cni": self.work.ours(), "tuning": {"sysctl": {"net.ipv4.conf.all.arp_announce": "1"}}}.get(kind, {})
        text = json.dumps({"cniVersion": "1.0.0", "name": "kbr", **mine, "type": kind})
        return (text[:-1] + ',"prevResult":' + self.previous + "}").encode()

    def once(self, measure, kind, command):
        program = next(file for place in self.work.path if os.path.exists(file := os.path.join(place, kind)))
        variables = {
            "CNI_COMMAND": command, "CNI_CONTAINERID": "pod", "CNI_IFNAME": "eth0", "CNI_NETNS": self.pod,
            "CNI_PATH": ":".join(self.work.path), "PATH": os.environ["PATH"],
            "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=pod;K8S_POD_UID=u-pod",
        }  # fmt: skip
        return measure(program, self.conf(kind), variables)

    def run(self, rounds, pause):
        """Plugins take turns within a round, so that a busy machine is busy for all of them."""
        samples = {}
        for number in range(rounds + MEMORY_ROUNDS):
            time.sleep(pause)
            measure = timed if number < rounds else peak_memory
            for command in COMMANDS:
                for kind in FIELD:
                    samples.setdefault((measure, command, kind), []).append(self.once(measure, kind, command))
        return samples


def show(samples):
    print(f"{'command':9}{'plugin':14}{'p50 ms':>8}{'p99 ms':>8}{'peak KiB':>10}{'times ours':>12}")
    for command in COMMANDS:
        ours = percentile(samples[timed, command, FIELD[0]], 0.5)
        for kind in FIELD:
            times = samples[timed, command, kind]
            half, late = percentile(times, 0.5), percentile(times, 0.99)
            memory = max(samples[peak_memory, command, kind])
            print(f"{command:9}{kind:14}{half * 1e3:8.2f}{late * 1e3:8.2f}{memory:10}{half / ours:12.1f}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--plugin", required=True)
    parser.add_argument("-n", type=int, default=200)
    parser.add_argument("--agent")
    parser.add_argument("--elements", type=int, default=0, help="peers of the pod's policy, with --agent")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between the end of a pod and the next one")
    parser.add_argument("--outside-ranges", action="store_true", help="the pod's address is of none of the node's pod ranges")
    options = parser.parse_args()
    work, pods = node.Workspace(options.plugin), node.Pods()
    write_world(work.file("objects"), options.elements, [] if options.outside_ranges else ["10.77.0.0/24"])
    agent = node.RealAgent(options.agent, work) if options.agent else node.Agent(work.socket)
    try:
        if options.agent:
            wait_until_enforcing(options.agent, work)
            print(f"the agent's table has {elements_in_kernel()} elements")
        pod = pods.new("pod")
        bridge = {
            "cniVersion": "1.0.0", "name": "kbr", "type": "bridge", "bridge": "cni0", "isGateway": True,
            "ipam": {"type": "host-local", "dataDir": work.file("ipam"), "ranges": [[{"subnet": "10.77.0.0/24"}]]},
        }  # fmt: skip
        variables = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "pod", "CNI_IFNAME": "eth0", "CNI_NETNS": pod, "CNI_PATH": "/usr/lib/cni"}
        variables["PATH"] = os.environ["PATH"]
        out = finish("bridge", *start("/usr/lib/cni/bridge", json.dumps(bridge).encode(), variables))
        show(Bench(work, pod, out.decode()).run(options.n, options.pause))
        for kind in FIELD:
            place = next(place for place in work.path if os.path.exists(os.path.join(place, kind)))
            print(f"{kind}: {os.path.getsize(os.path.join(place, kind)) / 1e6:.2f} MB")
        print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    finally:
        agent.stop()
        pods.remove()
        work.remove()


if __name__ == "__main__":
    node.enter()
    main()
