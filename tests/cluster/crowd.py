"""A crowd for figures: pods on nodes that do not exist, and policies, by many requests on few connections."""
import concurrent.futures
import http.client
import json
import os
import threading
import time

from cluster_case import NETWORKING, policy
from control_plane import MERGE, until


def load(api, jobs):
    """Many requests, on connections that stay open. Each job: requests that follow each other."""
    local = threading.local()

    def one(job):
        for method, path, body, kind in job:
            if not hasattr(local, "connection"):
                local.connection = http.client.HTTPSConnection(api.address, api.port, context=api.context, timeout=60)
            local.connection.request(method, path, json.dumps(body), {
                "Authorization": f"Bearer {api.token}", "Content-Type": kind, "User-Agent": "podfence-test"})  # fmt: skip
            answer = local.connection.getresponse()
            text = answer.read()
            if answer.status >= 300:
                raise RuntimeError(f"{method} {path}: {answer.status} {text[:500]}")

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(one, jobs))


def distant_pod(number, namespaces):
    namespace, name = f"team-{number % namespaces}", f"pod-{number}"
    address = f"10.{100 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"
    pod = {"metadata": {"name": name, "labels": {"app": f"app-{number % 50}", "tier": f"tier-{number % 7}"}}, "spec": {
        "nodeName": f"distant-{number % 200}", "automountServiceAccountToken": False, "containers": [
            {"name": "main", "image": "example/app:1", "ports": [{"name": "http", "containerPort": 8080}]}]}}  # fmt: skip
    status = {"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}}
    path = f"/api/v1/namespaces/{namespace}/pods"
    return [("POST", path, pod, "application/json"), ("PATCH", f"{path}/{name}/status", status, MERGE)]


def some_policy(number, namespaces):
    """A tenth of them is about pods that are here."""
    namespace = "bench" if number % 10 == 0 else f"team-{number % namespaces}"
    made = policy(f"policy-{number}", {"app": "server" if namespace == "bench" else f"app-{number % 50}"}, ingress=[{
        "from": [{"namespaceSelector": {"matchLabels": {"team": f"team-{(number + 1) % namespaces}"}},
                  "podSelector": {"matchLabels": {"app": f"app-{number % 50}"}}}], "ports": [{"port": 8000 + number % 100}]}])
    return [("POST", f"/apis/{NETWORKING}/namespaces/{namespace}/networkpolicies", made, "application/json")]


def fill(api, pods, policies, namespaces=100, accounts=True):
    """`accounts`: there is a controller that gives namespaces theirs, which pods need."""
    begin = time.monotonic()
    names = ["bench", *(f"team-{n}" for n in range(namespaces))]
    for name in names:
        api.create("namespaces", {"metadata": {"name": name, "labels": {"team": name}}})
    if accounts:
        until(lambda: {a["metadata"]["namespace"] for a in api.list("serviceaccounts")} >= set(names), "accounts", 120)
    load(api, (distant_pod(n, namespaces) for n in range(pods)))
    load(api, (some_policy(n, namespaces) for n in range(policies)))
    print(f"  {pods} pods and {policies} policies more, after {time.monotonic() - begin:.0f} s", flush=True)


def relabel(api, pods, namespaces=100, value="1"):
    """One event of each of so many pods, spread over all namespaces."""
    load(api, ([("PATCH", f"/api/v1/namespaces/team-{n % namespaces}/pods/pod-{n}", {"metadata": {"labels": {"round": value}}}, MERGE)]
               for n in range(pods)))


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        words = file.read().rsplit(") ", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid):
    """Now and at most so far, in MB."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        fields = dict(line.split(":", 1) for line in file)
    return tuple(int(fields[key].split()[0]) / 1024 for key in ("VmRSS", "VmHWM"))
