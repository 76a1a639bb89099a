#!/usr/bin/env python3
"""Time and memory of podfence-cni beside Debian's tuning and firewall in one run:
figures.py --plugin PROGRAM [--agent PROGRAM] [-n N]; without an agent it is one that only says yes.
The method is in README.md of this folder."""
import argparse
import json
import os
import re
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
        }  # fmt: skip
        return measure(program, self.conf(kind), variables)

    def run(self, rounds):
        """Plugins take turns within a round, so that a busy machine is busy for all of them."""
        samples = {}
        for number in range(rounds + MEMORY_ROUNDS):
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
    options = parser.parse_args()
    work, pods = node.Workspace(options.plugin), node.Pods()
    agent = node.RealAgent(options.agent, work) if options.agent else node.Agent(work.socket)
    try:
        pod = pods.new("pod")
        bridge = {
            "cniVersion": "1.0.0", "name": "kbr", "type": "bridge", "bridge": "cni0", "isGateway": True,
            "ipam": {"type": "host-local", "dataDir": work.file("ipam"), "ranges": [[{"subnet": "10.77.0.0/24"}]]},
        }  # fmt: skip
        variables = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "pod", "CNI_IFNAME": "eth0", "CNI_NETNS": pod, "CNI_PATH": "/usr/lib/cni"}
        variables["PATH"] = os.environ["PATH"]
        out = finish("bridge", *start("/usr/lib/cni/bridge", json.dumps(bridge).encode(), variables))
        show(Bench(work, pod, out.decode()).run(options.n))
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
