"""The container runtime interface over its socket: the few messages that the tests need, encoded by hand.

A message is a dict from field number to value: text, a number, another message, or a list of these; a map<string,
string> is a list of {1: key, 2: value}. An answer is read into a dict from field number to the list of its values, which
are numbers and bytes.
"""
import json

import grpc


def _varint(number):
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def encode(message):
    out = b""
    for field, values in message.items():
        for value in values if isinstance(values, list) else [values]:
            if isinstance(value, int):
                out += _varint(field << 3) + _varint(value)
                continue
            data = encode(value) if isinstance(value, dict) else value.encode()
            out += _varint(field << 3 | 2) + _varint(len(data)) + data
    return out


def decode(data):
    at, message = 0, {}

    def varint():
        nonlocal at
        number = shift = 0
        while True:
            byte = data[at]
            number |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                return number
    while at < len(data):
        field, kind = divmod(varint(), 8)
        if kind == 0:
            value = varint()
        elif kind == 2:
            length = varint()
            value, at = data[at:at + length], at + length
        else:
            raise ValueError(f"field {field} is of kind {kind}")
        message.setdefault(field, []).append(value)
    return message


def _pairs(mapping):
    return [{1: key, 2: value} for key, value in mapping.items()]


class CriError(Exception):
    def __init__(self, method, error):
        super().__init__(f"{method}: {error.details()}")
        self.code = error.code()


class Sandbox:
    """One that was asked for: its configuration goes with each of its containers again."""

    def __init__(self, name, namespace="shop", uid=None, attempt=0, ports=(), cgroup="/"):
        self.id, self.name = None, name
        self.config = {
            1: {1: name, 2: uid or f"uid-{name}", 3: namespace, 4: attempt}, 2: name,
            5: [{1: 0, 2: container, 3: host} for host, container in ports],
            6: _pairs({"io.kubernetes.pod.name": name, "io.kubernetes.pod.namespace": namespace}),
            8: {1: cgroup},
        }  # fmt: skip


class Cri:
    def __init__(self, socket):
        self.channel = grpc.insecure_channel(f"unix://{socket}")

    def close(self):
        self.channel.close()

    def call(self, method, message, timeout=120):
        service = "ImageService" if "Image" in method else "RuntimeService"
        try:
            return decode(self.channel.unary_unary(f"/runtime.v1.{service}/{method}")(encode(message), timeout=timeout))
        except grpc.RpcError as error:
            raise CriError(method, error) from None

    def network(self):
        """The name of the network that it has loaded, and the types of its plugins. The first is always the loopback."""
        info = {decode(pair)[1][0]: decode(pair)[2][0] for pair in self.call("Status", {1: 1}).get(2, [])}
        for network in json.loads(info[b"cniconfig"])["Networks"][1:]:
            return network["Config"]["Name"], [plugin["Network"]["type"] for plugin in network["Config"]["Plugins"]]
        return None, []

    def images(self):
        return {tag.decode() for image in self.call("ListImages", {}).get(1, []) for tag in decode(image).get(2, [])}

    def run_sandbox(self, sandbox, timeout=120):
        sandbox.id = self.call("RunPodSandbox", {1: sandbox.config}, timeout)[1][0].decode()
        return sandbox

    def stop_sandbox(self, sandbox):
        self.call("StopPodSandbox", {1: sandbox.id})

    def remove_sandbox(self, sandbox):
        self.call("RemovePodSandbox", {1: sandbox.id})

    def sandboxes(self):
        """State by id: 0 is ready, 1 is not."""
        items = [decode(item) for item in self.call("ListPodSandbox", {}).get(1, [])]
        return {item[1][0].decode(): item.get(3, [0])[0] for item in items}

    def addresses(self, sandbox):
        network = decode(decode(self.call("PodSandboxStatus", {1: sandbox.id})[1][0])[5][0])
        return [network[1][0].decode()] + [decode(more)[1][0].decode() for more in network.get(2, [])]

    def process(self, sandbox):
        """The process id of the sandbox's own process."""
        answer = self.call("PodSandboxStatus", {1: sandbox.id, 2: 1})
        info = {decode(pair)[1][0]: decode(pair)[2][0] for pair in answer[2]}
        return json.loads(info[b"info"])["pid"]

    def run_container(self, sandbox, image, *arguments):
        config = {1: {1: "main"}, 2: {1: image}, 4: list(arguments), 15: {}}
        created = self.call("CreateContainer", {1: sandbox.id, 2: config, 3: sandbox.config})[1][0].decode()
        self.call("StartContainer", {1: created})
        return created
