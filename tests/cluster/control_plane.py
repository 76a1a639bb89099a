"""etcd and the parts of Kubernetes that no node runs, on one address, with everything of theirs below one directory."""
import base64
import contextlib
import http.client
import json
import os
import signal
import ssl
import subprocess
import time

SERVICES, SERVICES6 = "10.96.0.0/16", "fd00:96::/108"
API_NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc")
MERGE = "application/merge-patch+json"


def until(condition, what, seconds=60):
    """The condition's first answer that counts as true."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)
    return answer


class ApiError(Exception):
    def __init__(self, code, text):
        super().__init__(f"{code}: {text[:2000]}")
        self.code = code


class Api:
    """Requests of one user: a token, or a client certificate."""

    def __init__(self, address, port, authority, token):
        self.address, self.port, self.token = address, port, token
        self.context = ssl.create_default_context(cafile=authority)

    def call(self, method, path, body=None, kind="application/json"):
        connection = http.client.HTTPSConnection(self.address, self.port, context=self.context, timeout=60)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": kind, "User-Agent": "podfence-test"}
        with contextlib.closing(connection):
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        if answer.status >= 300:
            raise ApiError(answer.status, text)
        return json.loads(text) if text.startswith("{") else text

    def ready(self):
        try:
            return self.call("GET", "/readyz") == "ok"
        except (OSError, ApiError, http.client.HTTPException):
            return False

    @staticmethod
    def path(kind, namespace=None, name=None, group=""):
        """Of a resource: kind is its plural."""
        parts = ["", "apis" if group else "api", group or "v1"]
        parts += ["namespaces", namespace] if namespace else []
        return "/".join([*parts, kind, *([name] if name else [])])

    def create(self, kind, body, namespace=None, group=""):
        return self.call("POST", self.path(kind, namespace, group=group), body)

    def patch(self, kind, name, body, namespace=None, group="", part=""):
        return self.call("PATCH", self.path(kind, namespace, name, group) + part, body, MERGE)

    def delete(self, kind, name, namespace=None, group="", now=True):
        options = {"gracePeriodSeconds": 0} if now else {}
        return self.call("DELETE", self.path(kind, namespace, name, group), options)

    def list(self, kind, namespace=None, group=""):
        return self.call("GET", self.path(kind, namespace, group=group))["items"]


class Authority:
    """Certificates of one certificate authority, by openssl."""

    def __init__(self, folder):
        self.folder = folder
        os.makedirs(folder)
        self.certificate = self.file("ca.crt")
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                      "-subj", "/CN=podfence-test", "-keyout", self.file("ca.key"), "-out", self.certificate)

    def file(self, name):
        return os.path.join(self.folder, name)

    @staticmethod
    def _openssl(*arguments):
        done = subprocess.run(["openssl", *arguments], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"openssl {arguments[0]}: {done.stderr}")

    def issue(self, name, subject, *alternatives):
        """The certificate's and the key's file."""
        key, request, certificate = (self.file(f"{name}.{end}") for end in ("key", "csr", "crt"))
        extensions = self.file(f"{name}.ext")
        with open(extensions, "w", encoding="ascii") as file:
            # Two authorities of one name are told apart by their keys' identifiers, as kubeadm's and Go's certificates do it.
            file.write("extendedKeyUsage=serverAuth,clientAuth\nauthorityKeyIdentifier=keyid\n")
            if alternatives:
                kinds = [("IP:" if a[0].isdigit() or ":" in a else "DNS:") + a for a in alternatives]
                file.write(f"subjectAltName={','.join(kinds)}\n")
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", subject, "-keyout",
                      key, "-out", request)
        self._openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.file("ca.key"), "-days", "30",
                      "-extfile", extensions, "-out", certificate)
        return certificate, key

    def key_pair(self, name):
        key, public = self.file(f"{name}.key"), self.file(f"{name}.pub")
        self._openssl("genrsa", "-out", key, "2048")
        self._openssl("rsa", "-in", key, "-pubout", "-out", public)
        return key, public


class ControlPlane:
    """`run` starts a command: in this network namespace, unless it says otherwise."""

    users = {"admin": "system:masters", "system:kube-scheduler": "", "system:kube-controller-manager": "",
             "system:kube-proxy": ""}

    def __init__(self, root, programs, address="127.0.0.1", port=6443, launch=subprocess.Popen):
        self.root, self.programs, self.address, self.port, self.launch = root, programs, address, port, launch
        self.processes = {}
        os.makedirs(root)
        self.authority = Authority(self.file("pki"))
        self.server = self.authority.issue("apiserver", "/CN=kube-apiserver", address, "127.0.0.1", "10.96.0.1", "fd00:96::1",
                                           "localhost", *API_NAMES)
        self.account_key, self.account_public = self.authority.key_pair("service-account")
        self.tokens = {}
        for user, group in self.users.items():
            self.add_user(user, group)

    def file(self, *parts):
        return os.path.join(self.root, *parts)

    def add_user(self, name, group=""):
        """Before the API server starts."""
        self.tokens[name] = f"token-of-{name.replace(':', '-')}"
        with open(self.file("tokens.csv"), "a", encoding="ascii") as file:
            file.write(f'{self.tokens[name]},{name},{name},"{group}"\n')

    def api(self, user="admin"):
        return Api(self.address, self.port, self.authority.certificate, self.tokens[user])

    def kubeconfig(self, user):
        """Its path."""
        path = self.file(f"{user.replace(':', '-')}.kubeconfig")
        with open(self.authority.certificate, "rb") as file:
            authority = base64.b64encode(file.read()).decode()
        config = {
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": f"https://{self.address}:{self.port}",
                                                      "certificate-authority-data": authority}}],
            "users": [{"name": user, "user": {"token": self.tokens[user]}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
        }  # fmt: skip
        with open(path, "w", encoding="utf-8") as file:
            json.dump(config, file)
        return path

    # Processes ---------------------------------------------------------------------------------------------------

    def start(self, name, *command):
        with open(self.file(f"{name}.log"), "a", encoding="utf-8") as log:
            self.processes[name] = self.launch(command, stdout=log, stderr=log)

    def kill(self, name):
        """SIGKILL: an API server that is asked to end waits for its watches."""
        self.processes[name].send_signal(signal.SIGKILL)
        self.processes.pop(name).wait(30)

    def start_etcd(self):
        client, peer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
        self.start("etcd", os.path.join(self.programs, "server"), "--name=test", f"--data-dir={self.file('etcd')}",
                   f"--listen-client-urls={client}", f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}",
                   f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=test={peer}", "--unsafe-no-fsync",
                   "--quota-backend-bytes=4294967296", "--logger=zap", "--log-level=warn")

    def start_api_server(self, *more):
        self.start(
            "kube-apiserver", os.path.join(self.programs, "kube-apiserver"), "--etcd-servers=http://127.0.0.1:2379",
            f"--bind-address={self.address}", f"--advertise-address={self.address}", f"--secure-port={self.port}",
            f"--tls-cert-file={self.server[0]}", f"--tls-private-key-file={self.server[1]}",
            f"--client-ca-file={self.authority.certificate}", f"--token-auth-file={self.file('tokens.csv')}",
            "--authorization-mode=Node,RBAC", "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self.account_public}", f"--service-account-signing-key-file={self.account_key}",
            f"--service-cluster-ip-range={SERVICES},{SERVICES6}", "--allow-privileged=true",
            "--kubelet-preferred-address-types=InternalIP", *more)  # fmt: skip

    def wait_ready(self):
        api = self.api()

        def alive_and_ready():
            for name, process in self.processes.items():
                if process.poll() is not None:
                    raise RuntimeError(f"{name} has ended: {self.log(name)}")
            return api.ready()

        until(alive_and_ready, "the API server is ready", 120)
        until(lambda: [n for n in api.list("namespaces") if n["metadata"]["name"] == "default"], "namespace default")

    def log(self, name, size=3000):
        with open(self.file(f"{name}.log"), encoding="utf-8", errors="replace") as file:
            return file.read()[-size:]

    def start_controllers(self, *more):
        config = self.kubeconfig("system:kube-controller-manager")
        self.start(
            "kube-controller-manager", os.path.join(self.programs, "kube-controller-manager"), f"--kubeconfig={config}",
            "--use-service-account-credentials=true", "--leader-elect=false", "--allocate-node-cidrs=false",
            f"--root-ca-file={self.authority.certificate}", f"--service-account-private-key-file={self.account_key}",
            *more)  # fmt: skip

    def start_scheduler(self):
        config = self.kubeconfig("system:kube-scheduler")
        self.start("kube-scheduler", os.path.join(self.programs, "kube-scheduler"), f"--kubeconfig={config}",
                   "--leader-elect=false")

    def close(self):
        for name in list(self.processes):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.kill(name)
