"""Runs a list of CNI plugins as libcni does: each plugin in order with the result of the one before it, DEL in reverse
order, the result kept in a cache for CHECK and DEL. The network namespace is the one that the caller is in."""
import base64
import copy
import json
import os
import subprocess


class PluginError(Exception):
    def __init__(self, plugin, command, answer):
        super().__init__(f"plugin {plugin} failed ({command}): {answer.get('msg')}; {answer.get('details', '')}")
        self.plugin, self.code = plugin, answer.get("code")


class Attachment:
    def __init__(self, container_id, netns, ifname="eth0", args=(), capability_args=None):
        self.container_id, self.netns, self.ifname = container_id, netns, ifname
        self.args, self.capability_args = list(args), capability_args or {}


class Driver:
    def __init__(self, conflist, path, cache):
        self.list, self.path, self.cache = conflist, path, os.path.join(cache, "results")

    def at_least(self, *version):
        return tuple(int(part) for part in self.list["cniVersion"].split(".")) >= version

    def execute(self, command, conf, attachment, previous=None, inject=None):
        """The bytes that the plugin printed. `previous` is JSON text, so that nothing is lost on the way."""
        conf = {**copy.deepcopy(conf), "name": self.list["name"], "cniVersion": self.list["cniVersion"], **(inject or {})}
        wanted = {name: value for name, value in attachment.capability_args.items() if conf.get("capabilities", {}).get(name)}
        if wanted:
            conf["runtimeConfig"] = wanted
        text = json.dumps(conf, sort_keys=True, separators=(",", ":"))
        if previous is not None:
            text = text[:-1] + ',"prevResult":' + previous + "}"
        variables = {
            "CNI_COMMAND": command, "CNI_CONTAINERID": attachment.container_id, "CNI_NETNS": attachment.netns,
            "CNI_IFNAME": attachment.ifname, "CNI_PATH": ":".join(self.path),
            "CNI_ARGS": ";".join(f"{key}={value}" for key, value in attachment.args),
        }  # fmt: skip
        program = next(file for place in self.path if os.access(file := os.path.join(place, conf["type"]), os.X_OK))
        done = subprocess.run([program], input=text.encode(), env={**os.environ, **variables}, capture_output=True, timeout=60)
        if done.returncode != 0:
            answer = json.loads(done.stdout) if done.stdout else {"msg": done.stderr.decode()}
            raise PluginError(conf["type"], command, answer)
        return done.stdout.decode()

    def file_of(self, attachment):
        return os.path.join(self.cache, f"{self.list['name']}-{attachment.container_id}-{attachment.ifname}")

    def cached(self, attachment):
        try:
            with open(self.file_of(attachment), encoding="utf-8") as file:
                return json.dumps(json.load(file)["result"])
        except FileNotFoundError:
            return None

    def add(self, attachment):
        """What each plugin printed, in order."""
        results, previous = [], None
        for conf in self.list["plugins"]:
            previous = self.execute("ADD", conf, attachment, previous)
            results.append(previous)
        os.makedirs(self.cache, 0o700, exist_ok=True)
        entry = {
            "kind": "cniCacheV1", "containerId": attachment.container_id, "ifName": attachment.ifname,
            "networkName": self.list["name"], "config": base64.b64encode(json.dumps(self.list).encode()).decode(),
            "cniArgs": attachment.args, "capabilityArgs": attachment.capability_args, "result": json.loads(previous),
        }  # fmt: skip
        with open(os.open(self.file_of(attachment), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(entry, file)
        return results

    def check(self, attachment):
        for conf in self.list["plugins"]:
            self.execute("CHECK", conf, attachment, self.cached(attachment))

    def delete(self, attachment):
        previous = self.cached(attachment) if self.at_least(0, 4, 0) else None
        for conf in reversed(self.list["plugins"]):
            self.execute("DEL", conf, attachment, previous)
        if os.path.exists(self.file_of(attachment)):
            os.remove(self.file_of(attachment))

    def gc(self, valid):
        keys = {"cni.dev/valid-attachments": valid, "cni.dev/attachments": valid}
        for conf in self.list["plugins"]:
            self.execute("GC", conf, Attachment("", "", ""), inject=keys)

    def status(self):
        for conf in self.list["plugins"]:
            self.execute("STATUS", conf, Attachment("", "", ""))
