"""What passes through a namespace: every packet that comes in, seen by a packet socket there."""
import collections
import socket
import struct
import threading

from host import inside

PACKET_OTHERHOST = 3  # another pod's, from a bridge that does not know where that one is
ETH_P_ALL, SOL_PACKET, SO_RCVBUFFORCE = 3, 263, 33
PACKET_STATISTICS, PACKET_IGNORE_OUTGOING = 6, 23
Seen = collections.namedtuple("Seen", "source destination protocol port text")


def parse(packet):
    """Datagrams and attempts to connect; of others, nothing."""
    if packet[12:14] == b"\x08\x00":
        protocol, at = packet[23], 14 + (packet[14] & 15) * 4
        source, destination = socket.inet_ntoa(packet[26:30]), socket.inet_ntoa(packet[30:34])
    elif packet[12:14] == b"\x86\xdd":
        protocol, at = packet[20], 54
        source, destination = (socket.inet_ntop(socket.AF_INET6, packet[i:i + 16]) for i in (22, 38))
    else:
        return None
    if protocol not in (6, 17):
        return None
    port = struct.unpack_from("!H", packet, at + 2)[0]
    if protocol == 17:
        return Seen(source, destination, "udp", port, packet[at + 8:].decode("ascii", "replace"))
    return Seen(source, destination, "tcp", port, "") if packet[at + 13] & 0x12 == 2 else None


class Wire:
    """The kernel keeps what came in until it is read; it sees interfaces too that come later."""

    def __init__(self, netns, megabytes=64):
        self.seen, self.lock, self.lost = [], threading.Lock(), 0
        with inside(netns):
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, megabytes << 20)
        self.socket.setblocking(False)

    def all(self, start=0):
        """Every packet so far, from the one of that number on. One that the socket had no room for is one that nobody
        judged."""
        with self.lock:
            while True:
                try:
                    packet, (_, _, kind, *_) = self.socket.recvfrom(2048)
                except BlockingIOError:
                    break
                found = parse(packet) if kind != PACKET_OTHERHOST else None
                if found:
                    self.seen.append(found)
            self.lost += struct.unpack("II", self.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1]
            if self.lost:
                raise AssertionError(f"{self.lost} packets were not seen")
            return self.seen[start:]

    def close(self):
        self.socket.close()
