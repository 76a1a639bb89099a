"""A server that one of two clients may reach, by a policy that a test changes, while the API server has its faults."""
import json

from cluster_case import Case, bare_pod, connects, policy
from control_plane import until


class ApiServerCase(Case):
    def setUp(self):
        self.space = f"faults-{self._testMethodName.split('_')[-1]}"
        self.namespaces(self.space)
        self.one, two = self.cluster.nodes
        api = self.cluster.api()
        for name, node in (("server", self.one), ("client", two), ("friend", two)):
            api.create("pods", bare_pod(name, node, {"role": name}), self.space)
        self.admit("friend")
        pods = self.until_ready(self.space, 3)
        self.address = pods[self.space, "server"][1][0]
        self.netns = {name: netns for (_, name), (netns, _) in pods.items()}
        self.until_only("friend")

    def admit(self, role):
        body = policy("only", {"app": "server"}, ingress=[{"from": [{"podSelector": {"matchLabels": {"role": role}}}]}])
        self.cluster.kubectl("apply", "-n", self.space, "-f", "-", input=json.dumps(body))

    def only(self, role):
        return all(connects(self.netns[name], self.address, 8080) == (name == role) for name in ("client", "friend"))

    def until_only(self, role):
        until(lambda: self.only(role), f"{role} alone reaches the server", 240)

    def rules(self):
        return self.one.run("nft", "-s", "list", "table", "inet", "podfence").stdout

    def restart_api_server(self):
        self.cluster.plane.start_api_server()
        self.cluster.plane.wait_ready()
