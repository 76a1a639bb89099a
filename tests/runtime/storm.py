"""An agent that is killed at random, and an outside that calls every address of the node all the time."""
import ipaddress
import os
import signal
import socket
import threading
import time

from case import PORT
from host import ALLOWED, ALLOWED6, OUTSIDE, OUTSIDE6, inside, pod_object, policy

MUTE = policy("mute", {"app": "mute"}, policyTypes=["Ingress", "Egress"])
PEERS, EVERYBODY = {ALLOWED, ALLOWED6}, {ALLOWED, ALLOWED6, OUTSIDE, OUTSIDE6}
# Of each kind of pod, to whom of the outside it may talk, and who may talk to it. One without an object is closed.
KINDS = {"web": PEERS, "mute": set(), "unknown": set(), "free": EVERYBODY}


def seed():
    number = int(os.environ.get("PODFENCE_SEED", time.time_ns() % 2**32))
    print(f"  PODFENCE_SEED={number}", flush=True)
    return number


def random_pods(count, chance, kinds):
    """Kind by name."""
    names = ((kind, number) for number in range(count) for kind in [chance.choice(kinds)])
    return {f"{kind}-{number}": kind for kind, number in names}


def objects_of(pods):
    return [pod_object(name, app=kind) for name, kind in pods.items() if kind != "unknown"]


class Killer:
    """The agent starts, and is killed at a random instant, again and again. It has enforced once before: a node on which
    none ever did is not closed, and its runtime is given no network by the installer."""

    def __init__(self, host, chance):
        self.host, self.chance, self.kills, self.ends = host, chance, 0, threading.Event()
        host.start_agent()
        host.end_agent(signal.SIGKILL)
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        while not self.ends.is_set():
            self.host.launch_agent()
            if not self.ends.wait(self.chance.uniform(0.02, 1.5)):
                self.host.end_agent(signal.SIGKILL)
                self.kills += 1

    def stop(self):
        """An agent stays."""
        self.ends.set()
        self.thread.join()
        if not self.host.agent:
            self.host.launch_agent()


class Callers:
    """The outside sends a datagram from each of the sources to each of the addresses, ten times a second: of the flow
    that a pod with the address uses too, so that it is established and survives the pod."""

    def __init__(self, host, sources, networks):
        self.sockets, self.ends = [], threading.Event()
        for source in sources:
            family = socket.AF_INET6 if ":" in source else socket.AF_INET
            with inside(host.outside):
                caller = socket.socket(family, socket.SOCK_DGRAM)
            caller.bind((source, PORT))
            caller.setblocking(False)
            addresses = [str(a) for n in networks for a in ipaddress.ip_network(n).hosts() if (":" in str(a)) == (":" in source)]
            self.sockets.append((caller, addresses))
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        while not self.ends.wait(0.1):
            for caller, addresses in self.sockets:
                for address in addresses:
                    try:
                        caller.sendto(f"caller {time.monotonic()}".encode(), (address, PORT))
                    except OSError:
                        pass  # what became of an earlier one: the pod listens to nothing

    def stop(self):
        self.ends.set()
        self.thread.join()
        for caller, _ in self.sockets:
            caller.close()
