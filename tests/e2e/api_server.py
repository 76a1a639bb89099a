"""A Kubernetes API server for tests: real TLS, lists, pages of a count, watches with bookmarks, lists as watches, a history
that can be compacted, and faults on demand. It serves the four types that the agent watches, from a dictionary, and takes
Events as the real one does: what is not valid is refused.
"""
import base64
import collections
import gzip
import http.server
import json
import os
import re
import socket
import ssl
import struct
import threading
import time
import urllib.parse

from node import inside, run

TYPES = {
    "/api/v1/namespaces": ("Namespace", "v1"),
    "/api/v1/nodes": ("Node", "v1"),
    "/api/v1/pods": ("Pod", "v1"),
    "/apis/networking.k8s.io/v1/networkpolicies": ("NetworkPolicy", "networking.k8s.io/v1"),
}
PATHS = {kind: path for path, (kind, _) in TYPES.items()}
TOKEN = "a-token-of-the-test"
Answer = collections.namedtuple("Answer", "status body headers", defaults=({},))
Change = collections.namedtuple("Change", "revision path thing before gone", defaults=(None, False))
POD_NAMESPACE = re.compile(r"/api/v1/namespaces/([^/]+)/pods")


class View:
    """What of the objects a request asks for: a type, a namespace's pods, pods of a node."""

    def __init__(self, path, query):
        of = POD_NAMESPACE.fullmatch(path)
        self.namespace = of and of.group(1)
        self.path = "/api/v1/pods" if of else path
        selector = query.get("fieldSelector", "")
        self.node = selector.removeprefix("spec.nodeName=") if selector else None

    def has(self, thing):
        return (self.namespace in (None, thing["metadata"].get("namespace"))
                and self.node in (None, thing.get("spec", {}).get("nodeName", "")))

    def of(self, objects):
        return [o for key, o in objects.items() if key[0] == self.path and self.has(o)]

    def event(self, change):
        """Its type: what enters the view is ADDED, what leaves it DELETED; None for a stranger."""
        had = change.before is not None and self.has(change.before)
        has = not change.gone and self.has(change.thing)
        if change.path != self.path or not (had or has):
            return None
        return ("MODIFIED" if had else "ADDED") if has else "DELETED"


def status(code, reason, message, **details):
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "reason": reason,
            "message": message, "details": details}


EVENTS = re.compile(r"/apis/events\.k8s\.io/v1/namespaces/([^/]+)/events(?:/([^/]+))?")
MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def event_problem(event, space):
    """What the API server has against a new Event of events.k8s.io/v1; "" when it is valid."""
    series, regarding = event.get("series"), event.get("regarding", {})
    name = event.get("metadata", {}).get("name", "")
    checks = {
        "apiVersion": event.get("apiVersion") == "events.k8s.io/v1" and event.get("kind") == "Event",
        "metadata.name": len(name) <= 253 and SUBDOMAIN.fullmatch(name),
        "metadata.namespace": event["metadata"].get("namespace") == space == regarding.get("namespace"),
        "eventTime": MICRO_TIME.fullmatch(event.get("eventTime", "")),
        "reportingController": re.fullmatch(r"([a-z0-9.-]+/)?[A-Za-z0-9][-A-Za-z0-9_.]{0,62}",
                                            event.get("reportingController", "")),
        "reportingInstance": 0 < len(event.get("reportingInstance", "")) <= 128,
        "action": 0 < len(event.get("action", "")) <= 128,
        "reason": 0 < len(event.get("reason", "")) <= 128,
        "type": event.get("type") in ("Normal", "Warning"),
        "note": len(event.get("note", "").encode()) <= 1024,
        "series": series is None or (2 <= series["count"] < 2**31 and MICRO_TIME.fullmatch(series["lastObservedTime"])),
    }
    return " ".join(field for field, good in checks.items() if not good)


class ApiServer:
    def __init__(self, netns, directory, address="127.0.0.1"):
        self.netns, self.directory, self.address = netns, directory, address
        self.changed = threading.Condition()
        self.revision, self.compacted = 100, 0
        self.objects, self.history = {}, []
        self.requests = []  # (path, query, headers)
        self.fault = lambda path, query: None  # an Answer instead of the right one
        self.token = TOKEN
        self.compresses = "asked"  # "unasked": whether the client asks or not
        self.compressed = 0
        self.bookmark_seconds = 1.0
        self.events, self.event_requests = {}, []  # by namespace and name; (method, path, body)
        self.server, self.connections, self.port, self.watches = None, set(), 0, 0
        self._make_certificates()

    # Objects -----------------------------------------------------------------------------------------------------

    @staticmethod
    def key(thing):
        return PATHS[thing["kind"]], thing["metadata"].get("namespace", ""), thing["metadata"]["name"]

    def put(self, *things):
        with self.changed:
            for thing in things:
                key = self.key(thing)
                self.revision += 1
                thing = json.loads(json.dumps(thing))
                thing["metadata"]["resourceVersion"] = str(self.revision)
                thing["metadata"].setdefault("uid", f"uid-{'-'.join(key)}")
                self.history.append(Change(self.revision, key[0], thing, self.objects.get(key)))
                self.objects[key] = thing
            self.changed.notify_all()

    def delete(self, thing):
        with self.changed:
            was = self.objects.pop(self.key(thing))
            gone = json.loads(json.dumps(was))
            self.revision += 1
            gone["metadata"]["resourceVersion"] = str(self.revision)
            self.history.append(Change(self.revision, self.key(thing)[0], gone, was, True))
            self.changed.notify_all()

    def end_watches(self):
        """With a clean end, as a server does that stops, or that has enough of a slow reader."""
        with self.changed:
            self.watches += 1
            self.changed.notify_all()

    def compact(self):
        """Whoever asks for what was before gets 410."""
        with self.changed:
            self.revision += 1
            self.compacted, self.history = self.revision, []

    def restore(self, things, revision):
        """As after a restored backup: other objects, and a history that went back."""
        with self.changed:
            self.objects, self.history, self.revision, self.compacted = {}, [], revision, 0
        self.put(*things)

    # Running -----------------------------------------------------------------------------------------------------

    def start(self):
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                owner.answer(self)

            def do_POST(self):
                owner.answer(self)

            do_PATCH = do_POST

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def get_request(self):
                connection, peer = self.socket.accept()
                owner.connections.add(connection)
                return owner.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), peer

            def handle_error(self, request, client_address):
                pass  # clients go

        with inside(self.netns):
            listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self.address, self.port))
        self.port = listener.getsockname()[1]
        self.server = Server((self.address, self.port), Handler, bind_and_activate=False)
        self.server.socket.close()
        self.server.socket = listener
        self.server.server_activate()
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def kill(self):
        """As SIGKILL: connections end where they are."""
        server, self.server = self.server, None
        server.shutdown()
        server.socket.close()
        for connection in list(self.connections):
            try:
                with socket.socket(fileno=os.dup(connection.fileno())) as copy:
                    copy.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    copy.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.connections.clear()
        with self.changed:
            self.changed.notify_all()

    def kubeconfig(self, cluster=(), **user):
        path = os.path.join(self.directory, "kubeconfig")
        with open(os.path.join(self.directory, "ca.crt"), "rb") as file:
            ca = base64.b64encode(file.read()).decode()
        with open(path, "w", encoding="utf-8") as out:
            json.dump({
                "apiVersion": "v1", "kind": "Config", "current-context": "test",
                "clusters": [{"name": "c", "cluster": {"server": f"https://{self.address}:{self.port}",
                                                       "certificate-authority-data": ca, **dict(cluster)}}],
                "users": [{"name": "u", "user": user or {"token": self.token}}],
                "contexts": [{"name": "test", "context": {"cluster": "c", "user": "u"}}]}, out)
        return path

    def _make_certificates(self):
        at = lambda name: os.path.join(self.directory, name)
        for name, subject, more in (("ca", "/CN=test-ca", ("-x509", "-days", "2", "-addext", "basicConstraints=critical,CA:TRUE")),
                                    ("server", "/CN=test-server", ())):
            run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
                at(f"{name}.key"), "-subj", subject, "-out", at(f"{name}.crt" if more else f"{name}.csr"), *more)
        with open(at("san"), "w", encoding="ascii") as out:
            out.write(f"subjectAltName=IP:{self.address}\n")
        run("openssl", "x509", "-req", "-in", at("server.csr"), "-CA", at("ca.crt"), "-CAkey", at("ca.key"),
            "-set_serial", "2", "-days", "2", "-extfile", at("san"), "-out", at("server.crt"))
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(at("server.crt"), at("server.key"))

    # Answering ---------------------------------------------------------------------------------------------------

    def answer(self, request):
        path, _, query = request.path.partition("?")
        query = dict(urllib.parse.parse_qsl(query))
        self.requests.append((path, query, dict(request.headers)))
        body = request.rfile.read(int(request.headers.get("Content-Length", "0")))
        if request.command != "GET":
            self.event_requests.append((request.command, path, json.loads(body)))
        fault = self.fault(path, query)
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            self.send(request, Answer(401, status(401, "Unauthorized", "Unauthorized")))
        elif fault:
            self.send(request, fault)
        elif request.command != "GET":
            self.send(request, self.take_event(request, path, json.loads(body)))
        elif View(path, query).path not in TYPES:
            self.send(request, Answer(404, "404 page not found"))
        elif query.get("watch"):
            self.watch(request, path, query)
        else:
            self.send(request, self.list(path, query))

    def take_event(self, request, path, event):
        space, name = EVENTS.fullmatch(path).groups()
        creates = request.command == "POST"
        if request.headers["Content-Type"] != ("application/json" if creates else "application/merge-patch+json"):
            return Answer(415, status(415, "UnsupportedMediaType", "unsupported media type"))
        with self.changed:
            name = event["metadata"]["name"] if creates else name
            known = self.events.get((space, name))
            if (PATHS["Namespace"], "", space) not in self.objects or (not creates and not known):
                return Answer(404, status(404, "NotFound", f'events "{name}" not found'))
            if creates and known:
                return Answer(409, status(409, "AlreadyExists", f'events "{name}" already exists'))
            if not creates and set(event) != {"series"}:
                return Answer(422, status(422, "Invalid", "field is immutable"))
            whole = {**(known or {}), **event}
            problem = event_problem(whole, space)
            if problem:
                return Answer(422, status(422, "Invalid", f"Event is invalid: {problem}"))
            self.events[space, name] = whole
        return Answer(201 if creates else 200, whole)

    def encoder(self, request):
        """What becomes of each piece, and the header that says so. As the real one: for each flush a gzip file of its own."""
        if self.compresses != "unasked" and "gzip" not in request.headers.get("Accept-Encoding", ""):
            return (lambda piece: piece), {}
        self.compressed += 1
        return gzip.compress, {"Content-Encoding": "gzip"}

    def send(self, request, answer):
        is_text = isinstance(answer.body, str)
        encode, encoding = self.encoder(request)
        body = encode((answer.body if is_text else json.dumps(answer.body)).encode())
        request.send_response(answer.status)
        for name, value in {"Content-Type": "text/plain" if is_text else "application/json",
                            "Content-Length": str(len(body)), **encoding, **answer.headers}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)

    def list(self, path, query):
        view = View(path, query)
        kind, version = TYPES[view.path]
        with self.changed:
            if int(query.get("resourceVersion", "0")) > self.revision:
                return Answer(504, status(504, "Timeout", "Too large resource version", retryAfterSeconds=1,
                                          causes=[{"reason": "ResourceVersionTooLarge"}]))
            items = [{k: v for k, v in o.items() if k not in ("kind", "apiVersion")}
                     for o in view.of(self.objects)]
            meta = {"resourceVersion": str(self.revision)}
        limit = int(query.get("limit", "0"))
        if limit and len(items) > limit:
            meta |= {"continue": "more"}
            if view.node is None:
                meta |= {"remainingItemCount": len(items) - limit}
            items = items[:limit]
        return Answer(200, {"kind": kind + "List", "apiVersion": version, "items": items, "metadata": meta})

    def watch(self, request, path, query):
        view = View(path, query)
        kind, version = TYPES[view.path]
        if "sendInitialEvents" in query and query.get("resourceVersionMatch") != "NotOlderThan":
            return self.send(request, Answer(422, status(422, "Invalid", "resourceVersionMatch is required")))
        encode, encoding = self.encoder(request)
        request.send_response(200)
        for name, value in {"Content-Type": "application/json", "Transfer-Encoding": "chunked", **encoding}.items():
            request.send_header(name, value)
        request.end_headers()

        def event(type_name, thing):
            text = encode(json.dumps({"type": type_name, "object": thing}, separators=(",", ":")).encode() + b"\n")
            request.wfile.write(b"%x\r\n%s\r\n" % (len(text), text))

        def bookmark(revision, **annotations):
            event("BOOKMARK", {"kind": kind, "apiVersion": version,
                               "metadata": {"resourceVersion": str(revision), "annotations": annotations}})

        ends = time.monotonic() + float(query.get("timeoutSeconds", "1800"))
        server, watches = self.server, self.watches
        with self.changed:
            now = self.revision
            initial = view.of(self.objects)
            expired = "sendInitialEvents" not in query and int(query["resourceVersion"]) < self.compacted
        if expired:
            event("ERROR", status(410, "Expired", f"too old resource version: {query['resourceVersion']}"))
            request.wfile.write(b"0\r\n\r\n")
            return None
        seen = int(query.get("resourceVersion", "0"))
        if "sendInitialEvents" in query:
            for thing in initial:
                event("ADDED", thing)
            bookmark(now, **{"k8s.io/initial-events-end": "true"})
            seen = now
        next_bookmark = time.monotonic() + self.bookmark_seconds
        while self.server is server and self.watches == watches and time.monotonic() < ends:
            with self.changed:
                self.changed.wait(0.1)
                news = [change for change in self.history if change.revision > seen and view.event(change)]
                now = self.revision
            for change in news:
                event(view.event(change), change.thing)
                seen = change.revision
            if time.monotonic() >= next_bookmark and now >= seen:  # a future revision hears nothing
                next_bookmark += self.bookmark_seconds
                bookmark(now)
                seen = now
        request.wfile.write(b"0\r\n\r\n")
        return None
