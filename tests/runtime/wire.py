"""What comes out of the node: every packet that reaches a namespace, seen by a packet socket there."""
import collections
import socket
import struct
import threading

from host import inside

ETH_P_ALL, SOL_PACKET, PACKET_STATISTICS, SO_RCVBUFFORCE = 3, 263, 6, 33
PACKET_OUTGOING = 4
Seen = collections.namedtuple("Seen", "source destination protocol port text")


def parse(packet):
    """Datagrams and attempts to connect, over IPv4; of others, nothing."""
    if packet[12:14] != b"\x08\x00" or packet[23] not in (6, 17):
        return None
    at = 14 + (packet[14] & 15) * 4
    source, destination = socket.inet_ntoa(packet[26:30]), socket.inet_ntoa(packet[30:34])
    port = struct.unpack_from("!H", packet, at + 2)[0]
    if packet[23] == 17:
        return Seen(source, destination, "udp", port, packet[at + 8:].decode("ascii", "replace"))
    return Seen(source, destination, "tcp", port, "") if packet[at + 13] & 0x12 == 2 else None


class Wire:
    def __init__(self, netns):
        self.seen, self.lock, self.lost = [], threading.Lock(), 0
        with inside(netns):
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        self.socket.settimeout(0.1)
        self.ends = False
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self):
        while not self.ends:
            try:
                packet, address = self.socket.recvfrom(2048)
            except TimeoutError:
                continue
            found = parse(packet) if address[2] != PACKET_OUTGOING else None
            if found:
                with self.lock:
                    self.seen.append(found)

    def all(self):
        """Every packet so far. A packet that the socket had no room for would be one that nobody judged."""
        self.lost += struct.unpack("II", self.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1]
        if self.lost:
            raise AssertionError(f"{self.lost} packets were not seen")
        with self.lock:
            return list(self.seen)

    def close(self):
        self.ends = True
        self.thread.join()
        self.socket.close()
