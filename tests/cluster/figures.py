#!/usr/bin/env python3
"""Figures of a real cluster with 10,000 pods more, on nodes that do not exist, and 1,000 policies; no part of the CI run:
figures.py --program PODFENCE --plugin PODFENCE_CNI --probe PROBE [--pods N] [--policies N] [--rounds N]"""
import contextlib
import datetime
import os
import re
import signal
import socket
import statistics
import sys
import threading
import time

from cluster_case import ALLOWED, NETWORKING, OPTIONS, Case, bare_pod, main_options, policy, prober
from control_plane import until
from crowd import cpu_seconds, fill, relabel, resident

from host import enter, inside  # noqa: E402, from tests/runtime

CONTROLLERS = "--controllers=*,-pod-garbage-collector-controller,-node-lifecycle-controller,-taint-eviction-controller"
PROBE_PORT = 9000


class Figures:
    """Prints what was measured, and whether the target is met."""

    def __init__(self):
        self.missed = 0

    def show(self, what, value, unit, target):
        met = value <= target
        self.missed += not met
        print(f"  {what:66} {value:8.2f} {unit:3} target {target:6.1f}  {'met' if met else 'MISSED'}", flush=True)

    def spread(self, what, seconds, target50, target99=None):
        ms = sorted(1000 * s for s in seconds)
        self.show(f"{what}, p50 of {len(ms)}", statistics.median(ms), "ms", target50)
        p99 = ms[min(len(ms) - 1, int(len(ms) * 0.99))]
        if target99:
            self.show(f"{what}, p99", p99, "ms", target99)
        else:
            print(f"  {what + ', p99':66} {p99:8.1f} ms", flush=True)


# Measuring -------------------------------------------------------------------------------------------------------


class Listener:
    """Datagrams "WHO WHAT" as they arrive: of each sender the first one's time, and what a stream's say, in order."""

    def __init__(self, netns, address="0.0.0.0"):
        self.first, self.stream = {}, [0.0]
        with inside(netns):
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, PROBE_PORT))
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        while True:
            who, what = self.socket.recv(200).decode().split()
            self.first.setdefault(who, time.monotonic())
            if who == "stream":
                self.stream.append(float(what))


class Stream:
    """A datagram each millisecond of one flow, with the time when it was sent; which of them arrive is known at once,
    for both ends have the same clock."""

    def __init__(self, netns, address, listener):
        self.address, self.listener = address, listener
        with inside(netns):
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("0.0.0.0", PROBE_PORT + 1))
        threading.Thread(target=self.send, daemon=True).start()

    def send(self):
        while True:
            with contextlib.suppress(OSError):
                self.socket.sendto(f"stream {time.monotonic()}".encode(), (self.address, PROBE_PORT))
            time.sleep(0.001)

    def until_open(self, since):
        """The sending of the first one that arrives, of those that were sent since then."""
        arrived = self.listener.stream
        until(lambda: arrived[-1] > since, "it passes", 60)
        return next(sent for sent in arrived if sent > since) - since

    def until_closed(self, since):
        until(lambda: time.monotonic() - self.listener.stream[-1] > 0.5, "it is closed", 60)
        return max(0.0, self.listener.stream[-1] - since)


def changes(figures, api, stream, rounds):
    label, rule = {True: [], False: []}, {True: [], False: []}
    friends = policy("friends", {"app": "server"}, ingress=[{"from": [{"podSelector": {"matchLabels": {"role": "friend"}}}]}])
    clients = policy("clients", {"app": "server"}, ingress=[{"from": [{"podSelector": {"matchLabels": {"app": "client"}}}]}])
    api.create("networkpolicies", friends, "bench", NETWORKING)
    stream.until_closed(time.monotonic())
    for _ in range(rounds):
        api.patch("pods", "client", {"metadata": {"labels": {"role": "friend"}}}, "bench")
        label[True].append(stream.until_open(time.monotonic()))
        api.patch("pods", "client", {"metadata": {"labels": {"role": None}}}, "bench")
        label[False].append(stream.until_closed(time.monotonic()))
        api.create("networkpolicies", clients, "bench", NETWORKING)
        rule[True].append(stream.until_open(time.monotonic()))
        api.delete("networkpolicies", "clients", "bench", NETWORKING)
        rule[False].append(stream.until_closed(time.monotonic()))
    for what, found in (("label", label), ("policy", rule)):
        figures.spread(f"{what}: from the API's answer to the first packet that passes", found[True], 100)
        figures.spread(f"{what}: ... to the last one that does", found[False], 100)


def memory_and_cpu(figures, case, node, pods):
    pid, api = case.agent_process(node), case.cluster.api()
    now, most = resident(pid)
    figures.show("agent: resident memory", now, "MB", 25)
    print(f"  {'agent: most of it so far':66} {most:8.1f} MB", flush=True)
    begin, before = time.monotonic(), cpu_seconds(pid)
    time.sleep(20)
    figures.show("agent: CPU when nothing happens", 100 * (cpu_seconds(pid) - before) / (time.monotonic() - begin), "%", 0.1)
    begin, before, count = time.monotonic(), cpu_seconds(pid), min(1000, pods)
    relabel(api, count)
    spent = time.monotonic() - begin
    time.sleep(1)
    print(f"  {'agent: CPU of an event':66} {1e6 * (cpu_seconds(pid) - before) / count:8.1f} us  (at {count / spent:.0f} a second)", flush=True)


def starts(figures, case, node):
    """From the process to what it enforces, with the checkpoint and without."""
    for what, prepare, target in (("from the checkpoint", "true", 200), ("from the API", "rm /var/lib/podfence/checkpoint", 3000)):
        case.until_covered(node)
        pid = case.agent_process(node)
        node.run("sh", "-c", prepare)
        os.kill(pid, signal.SIGKILL)

        def enforcing():
            """When the agent that runs now began to, as it says."""
            with contextlib.suppress(KeyError, RuntimeError):
                if case.agent_process(node) not in (None, pid):
                    name = case.podfence.pods()[node.name]["metadata"]["name"]
                    text = case.cluster.kubectl("logs", "-n", "kube-system", name, "-c", "agent").stdout
                    return re.search(r"(?m)^time=(\S+) .* event=enforcing ", text)

        when = datetime.datetime.fromisoformat(until(enforcing, "the agent enforces again", 120).group(1)).timestamp()
        with open(f"/proc/{case.agent_process(node)}/stat", encoding="ascii") as file:
            ticks = int(file.read().rsplit(") ", 1)[1].split()[19])
        started = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / os.sysconf("SC_CLK_TCK")
        figures.show(f"start to enforcing, {what}", 1000 * (when - started), "ms", target)


def burst(figures, api, cluster, server, to_server, count=50):
    """From a new pod's first instruction, which an address that all may reach hears, to what the server hears of it."""
    outside = Listener(f"/proc/{os.getpid()}/ns/net", ALLOWED)
    names = [f"new-{number}" for number in range(count)]
    for number, name in enumerate(names):
        pod = prober(name, cluster.nodes[number % 2], (ALLOWED, PROBE_PORT), (server, PROBE_PORT), role="friend")
        pod["spec"]["containers"][0]["args"][1] = "5"
        api.create("pods", pod, "bench")
    until(lambda: set(names) <= to_server.first.keys() & outside.first.keys(), "all have connected", 240)
    figures.spread(f"a new pod's first allowed connection, {count} at once",
                   [max(0.0, to_server.first[n] - outside.first[n]) for n in names], 200)


def measure():
    case, figures = Case(), Figures()
    cluster, api = Case.cluster, Case.cluster.api()
    fill(api, OPTIONS.pods, OPTIONS.policies)
    Case.install()
    one, two = cluster.nodes
    for name, node in (("server", one), ("client", two)):
        pod = bare_pod(name, node)
        pod["spec"]["nodeName"] = node.name  # nobody takes away the taint of a node that is new
        api.create("pods", pod, "bench")
    pods = case.until_ready("bench", 2)
    (server_netns, (server, *_)), (client_netns, _) = pods["bench", "server"], pods["bench", "client"]
    listener = Listener(server_netns)
    stream = Stream(client_netns, server, listener)
    changes(figures, api, stream, OPTIONS.rounds)
    memory_and_cpu(figures, case, one, OPTIONS.pods)
    starts(figures, case, one)
    burst(figures, api, cluster, server, listener)
    print(f"  {figures.missed} targets missed", flush=True)
    return figures.missed


if __name__ == "__main__":
    enter()
    main_options(pods=10_000, policies=1_000, rounds=50)
    Case.set_up_cluster(CONTROLLERS)
    try:
        missed = measure()
    finally:
        Case.cluster.close()
    sys.exit(2 if missed else 0)
