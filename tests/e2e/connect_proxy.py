"""An HTTP proxy that knows CONNECT and nothing else."""
import base64
import socket
import threading

from node import inside


class ConnectProxy:
    """`tunnels`: the target of each that it opened; `refused`: those whom it did not know."""

    def __init__(self, netns, user="", password="", address="127.0.0.1"):
        self.netns, self.address, self.port = netns, address, 0
        self.credentials = f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}" if user else None
        self.tunnels, self.refused, self.listener, self.connections = [], [], None, []

    def start(self):
        with inside(self.netns):
            self.listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((self.address, self.port))
        self.listener.listen(64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def kill(self):
        """Nobody listens any more, and no tunnel is left."""
        listener, self.listener = self.listener, None
        for connection in [listener, *self.connections]:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        listener.close()
        self.connections = []

    def _accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self.connections.append(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        try:
            with client, client.makefile("rb") as lines:
                method, target, _ = lines.readline().decode().split()
                headers = dict(line.decode().strip().split(": ", 1) for line in iter(lines.readline, b"\r\n"))
                assert method == "CONNECT" and headers["Host"] == target, (method, target, headers)
                if headers.get("Proxy-Authorization") != self.credentials:
                    self.refused.append(target)
                    client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                    return
                host, _, port = target.rpartition(":")
                with inside(self.netns):
                    server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
                with server:
                    try:
                        server.connect((host, int(port)))
                    except OSError:
                        client.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
                        return
                    self.connections.append(server)
                    self.tunnels.append(target)
                    client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    back = threading.Thread(target=self._pass, args=(server, client), daemon=True)
                    back.start()
                    self._pass(client, server)
                    back.join()
        except OSError:
            pass  # clients go

    @staticmethod
    def _pass(source, to):
        try:
            while data := source.recv(65536):
                to.sendall(data)
            to.shutdown(socket.SHUT_WR)
        except OSError:
            pass
