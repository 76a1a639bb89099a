#!/usr/bin/env python3
"""The Dockerfile, read as a linter reads it: dockerfile_test.py. That it builds is for image_test.sh."""
import json
import os
import re
import subprocess
import tempfile
import unittest

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
INSTRUCTIONS = {"FROM", "RUN", "COPY", "WORKDIR", "ENTRYPOINT"}


def text_of(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def parsed(text):
    """[(instruction, arguments)], continued lines as one."""
    lines = re.sub(r"\\\n\s*", "", "\n".join(line for line in text.splitlines() if not line.startswith("#"))).splitlines()
    return [tuple(line.split(None, 1)) for line in lines if line.strip()]


class DockerfileTest(unittest.TestCase):
    def setUp(self):
        self.steps = parsed(text_of("deploy/image/Dockerfile"))
        self.runs = [arguments for word, arguments in self.steps if word == "RUN"]

    def test_it_is_of_known_instructions_and_begins_with_an_image(self):
        self.assertEqual(self.steps[0][0], "FROM")
        self.assertEqual({word for word, _ in self.steps} - INSTRUCTIONS, set())

    def test_stages_are_pinned_named_and_the_last_is_empty(self):
        stages = [arguments.split() for word, arguments in self.steps if word == "FROM"]
        self.assertEqual([stage[0] for stage in stages], ["debian:12-slim", "scratch"])
        names = {stage[2] for stage in stages if len(stage) == 3 and stage[1] == "AS"}
        used = set(re.findall(r"--from=(\S+)", text_of("deploy/image/Dockerfile")))
        self.assertEqual(used, names)

    def test_what_it_copies_and_runs_is_there(self):
        for word, arguments in self.steps:
            if word == "COPY" and "--from" not in arguments:
                for source in arguments.split()[:-1]:
                    self.assertTrue(os.path.exists(os.path.join(ROOT, source)), source)
        ignored = text_of(".dockerignore").splitlines()
        self.assertTrue({".git", "build"} <= set(ignored), "COPY . would carry them")
        for script in re.findall(r"deploy/\S+\.sh", " ".join(self.runs)):
            self.assertTrue(os.access(os.path.join(ROOT, script), os.X_OK), script)

    def test_its_commands_are_shell(self):
        for run in self.runs:
            script = f"#!/bin/sh\n{run}\n"
            checked = subprocess.run(["shellcheck", "--severity=style", "-"], input=script, text=True, capture_output=True)
            self.assertEqual(checked.returncode, 0, checked.stdout)

    def test_packages_are_those_that_the_tests_build_with(self):
        install = next(run for run in self.runs if "apt-get install" in run)
        self.assertIn("--no-install-recommends", install)
        self.assertIn("rm -rf /var/lib/apt/lists/*", install)
        packages = re.search(r"install .*?--no-install-recommends (.*?)&&", install).group(1).split()
        self.assertGreater(len(packages), 10)
        listed = re.search(r"PACKAGES=\((.*?)\)", text_of("tests/run.sh"), re.S).group(1).split()
        self.assertEqual(set(packages) - set(listed), set())
        needed = {p for p in listed if re.fullmatch(r"(lib|nlohmann).*-dev", p) and not re.search("gtest|gmock|benchmark|clang", p)}
        self.assertEqual(needed - set(packages), set(), "the build would miss them")

    def test_options_of_cmake_exist(self):
        configure = next(command for run in self.runs for command in run.split("&&") if "cmake --preset" in command)
        with tempfile.TemporaryDirectory() as build:
            done = subprocess.run([*configure.split(), "-B", build, "-S", ROOT], text=True, capture_output=True, cwd=ROOT)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("not used by the project", done.stdout + done.stderr)

    def test_the_entrypoint_is_a_program_of_the_image(self):
        entrypoint = json.loads(self.steps[-1][1])
        self.assertEqual((self.steps[-1][0], entrypoint), ("ENTRYPOINT", ["/bin/podfence"]))
        self.assertIn('"$ROOT/bin/podfence"', text_of("deploy/image/rootfs.sh"))


if __name__ == "__main__":
    unittest.main()
