#!/usr/bin/env python3
"""What the quickstart's pods do.

  pod.py serve NAME [tcp:PORT | udp:PORT]...   answers HTTP on each TCP port and any datagram on each UDP port: "NAME"
  pod.py ask ADDRESS PORT                      sends one datagram; exit 0 when the answer comes within a second and a half
"""
import socket
import socketserver
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def dual_stack(server):
    """The same server on IPv6, which takes IPv4 connections too."""

    class DualStack(server):
        address_family = socket.AF_INET6
        daemon_threads = True

        def server_bind(self):
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            socketserver.TCPServer.server_bind(self)  # not HTTPServer's: it would ask DNS for the host's name

    return DualStack


def serve(name, ports):
    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            body = f"{name}\n".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    class Datagram(socketserver.BaseRequestHandler):
        def handle(self):
            self.request[1].sendto(name.encode(), self.client_address)

    for port in ports:
        protocol, number = port.split(":")
        server, handler = (ThreadingHTTPServer, Page) if protocol == "tcp" else (socketserver.UDPServer, Datagram)
        bound = dual_stack(server)(("::", int(number)), handler)
        threading.Thread(target=bound.serve_forever).start()
    print("ready", flush=True)


def ask(address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(1.5)
        client.sendto(b"who are you?", (address, int(port)))
        print(client.recv(512).decode())


if __name__ == "__main__":
    try:
        {"serve": lambda name, *ports: serve(name, ports), "ask": ask}[sys.argv[1]](*sys.argv[2:])
    except OSError as error:
        sys.exit(str(error))
    except (IndexError, KeyError, TypeError, ValueError):
        sys.exit(__doc__)
