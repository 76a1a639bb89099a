"""Numbered datagrams from some pods to one, each a flow of its own: which of them arrive."""
import contextlib
import socket
import threading
import time

from host import inside  # from tests/runtime

PORT, RCVBUFFORCE = 5300, 33  # SO_RCVBUFFORCE of asm-generic/socket.h


class Datagrams:
    """`senders`: names with the path of their network namespace. To every address of the receiver's."""

    def __init__(self, receiver, addresses, senders):
        self.addresses, self.senders, self.ended = addresses, senders, threading.Event()
        self.sent, self.arrived = dict.fromkeys(senders, 0), {name: set() for name in senders}
        with inside(receiver):
            self.socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, RCVBUFFORCE, 8 << 20)
        self.socket.settimeout(0.5)
        self.socket.bind(("::", PORT))  # both families
        self.threads = [threading.Thread(target=work, daemon=True) for work in (self._send, self._receive)]
        for thread in self.threads:
            thread.start()

    def _send(self):
        while not self.ended.is_set():
            for name, netns in self.senders.items():
                for address in self.addresses:
                    with inside(netns), socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as one:
                        one.sendto(f"{name} {self.sent[name]}".encode(), (address, PORT))
                    self.sent[name] += 1
            time.sleep(0.002)

    def _receive(self):
        while True:
            try:
                name, number = self.socket.recv(64).decode().split()
                self.arrived[name].add(int(number))
            except TimeoutError:
                if self.ended.is_set():
                    return

    def end(self):
        """Of each sender how many it sent, and the numbers of those that did not arrive."""
        self.ended.set()
        for thread in self.threads:
            thread.join()
        with contextlib.closing(self.socket):
            return {name: (count, sorted(set(range(count)) - self.arrived[name])) for name, count in self.sent.items()}
