#!/usr/bin/env python3
"""The house rules that a pattern can check; CONTRIBUTING.md lists them with their reasons."""
import re
import unittest

from tree import PRODUCT, ROOT, code_of, cpp_files, relative

MOST_LINES = 600
TOP_LEVEL = {"policy", "enforcer", "cni", "deploy", "tests"}
UNFINISHED = "FIX" + "ME|X" + "XX"  # in pieces, as below, so that this file passes its own rules
LATER = "TO" + "DO"

# (what it says, where it holds, files it does not hold for, pattern over code without comments and literals)
CODE_RULES = (
    (
        "no coroutines: g++ 12 miscompiles them",
        ("policy/", "enforcer/", "cni/", "tests/"),
        (),
        re.compile(r"\bco_(await|return|yield)\b"),
    ),
    (
        "no test mode in product code: write a second implementation of the port",
        ("policy/", "enforcer/", "cni/"),
        (),
        re.compile(r"\b(testing|is_test\w*|test_mode|for_test\w*|in_test\w*)\b"),
    ),
    (
        "a dry run is an implementation of the kernel port, not a flag in logic",
        ("policy/", "enforcer/", "cni/"),
        ("enforcer/agent/agent.h", "enforcer/agent/agent.cpp", "enforcer/cli/"),
        re.compile(r"\bdry_run\w*\b"),
    ),
    (
        "policy/ prints, opens and asks nothing",
        ("policy/",),
        (),
        re.compile(r"\b(printf|fprintf|puts|fputs|fopen|getenv|system|popen|cout|cerr)\s*(\(|<<)"),
    ),
    (
        "clocks belong to drivers: take the time as an argument",
        ("policy/",),
        (),
        re.compile(r"\b(system_clock|steady_clock)::now\b|\bgettimeofday\b|\bclock_gettime\b"),
    ),
    (
        "no whole namespace at file scope",
        ("policy/", "enforcer/", "cni/"),
        (),
        re.compile(r"^using\s+namespace\s+(?![\w:]*literals;)\w+", re.MULTILINE),
    ),
)

# The same over the whole text, comments included.
TEXT_RULES = (
    (f"finish it, or write {LATER}(#12)", re.compile(rf"\b({UNFINISHED})\b")),
    (f"names its issue: {LATER}(#12)", re.compile(rf"\b{LATER}\b(?!\(#\d+\))")),
)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def code_faults(path, text):
    code = code_of(text)
    for says, where, exempt, pattern in CODE_RULES:
        if path.startswith(where) and not (exempt and path.startswith(exempt)):
            for match in pattern.finditer(code):
                yield f"{path}:{line_of(code, match.start())}: '{match.group(0)}': {says}"


def text_faults(path, text):
    for says, pattern in TEXT_RULES:
        for match in pattern.finditer(text):
            yield f"{path}:{line_of(text, match.start())}: '{match.group(0)}': {says}"
    lines = text.count("\n")
    if lines > MOST_LINES:
        yield f"{path}: {lines} lines, at most {MOST_LINES}"
    if text and not text.endswith("\n"):
        yield f"{path}: no newline at its end"


def header_faults(path, text):
    if path.endswith(".h") and not text.startswith("#pragma once\n"):
        yield f"{path}:1: a header starts with #pragma once"


def faults(path, text):
    return [*code_faults(path, text), *text_faults(path, text), *header_faults(path, text)]


def top_level_faults(names):
    """Folders at the root; hidden ones and the build's output are not ours to judge."""
    return [f"{name}/: not one of {', '.join(sorted(TOP_LEVEL))}" for name in names if name not in TOP_LEVEL]


class TheRuleFires(unittest.TestCase):
    def assert_fault(self, path, text, expected):
        found = faults(path, text)
        self.assertEqual(len(found), 1, found)
        self.assertIn(expected, found[0])

    def test_on_coroutines(self):
        self.assert_fault("enforcer/agent/a.cpp", "void f() { co_await g(); }\n", "no coroutines")

    def test_on_test_modes(self):
        self.assert_fault("policy/net/a.cpp", "bool testing = false;\n", "no test mode")
        self.assert_fault("enforcer/kernel/a.cpp", "if (dry_run) return;\n", "dry run")

    def test_on_effects_in_pure_code(self):
        self.assert_fault("policy/net/a.cpp", 'void f() { std::printf("x"); }\n', "prints, opens and asks nothing")
        self.assert_fault("policy/net/a.cpp", "auto t = std::chrono::system_clock::now();\n", "clocks belong to drivers")

    def test_on_a_whole_namespace(self):
        self.assert_fault("policy/net/a.cpp", "using namespace std;\n", "whole namespace")

    def test_on_unfinished_work(self):
        self.assert_fault("policy/net/a.cpp", "// FIX" + "ME later\n", "finish it")
        self.assert_fault("policy/net/a.cpp", f"// {LATER} later\n", "names its issue")

    def test_on_a_header_without_its_guard(self):
        self.assert_fault("policy/net/a.h", "// What it is.\n#pragma once\n", "starts with #pragma once")

    def test_on_a_file_that_is_too_long(self):
        self.assert_fault("policy/net/a.cpp", "\n" * (MOST_LINES + 1), "at most")

    def test_on_a_sixth_folder(self):
        self.assertEqual(len(top_level_faults(["policy", "utils"])), 1)

    def test_not_on_comments_and_literals(self):
        text = '// co_await is banned; testing too\nauto s = "co_await // testing";\nauto r = R"(dry_run)";\nint n = 1\'000;\n'
        self.assertEqual(faults("policy/net/a.cpp", text), [])

    def test_not_on_literals(self):
        self.assertEqual(faults("enforcer/agent/a.cpp", "using namespace std::chrono_literals;\n"), [])

    def test_not_on_a_todo_with_its_issue(self):
        self.assertEqual(faults("policy/net/a.cpp", f"// {LATER}(#12): more\n"), [])

    def test_not_on_the_option_of_the_command_line(self):
        self.assertEqual(faults("enforcer/cli/agent.cpp", "config.dry_run = true;\n"), [])


class TheTree(unittest.TestCase):
    def test_sources_keep_the_rules(self):
        files = cpp_files(*PRODUCT, "tests")
        found = [fault for path in files for fault in faults(relative(path), path.read_text())]
        self.assertEqual(found, [], "\n" + "\n".join(found))

    def test_scripts_keep_the_rules(self):
        folders = (ROOT / "tests", ROOT / "deploy", ROOT / ".ci")
        files = [path for folder in folders for path in folder.rglob("*") if path.suffix in (".sh", ".py") or path.name == "run"]
        files = sorted(path for path in files if path.is_file())
        self.assertTrue(files, "no script found")
        found = [fault for path in files for fault in text_faults(relative(path), path.read_text())]
        self.assertEqual(found, [], "\n" + "\n".join(found))

    def test_top_level_holds_only_its_five_folders(self):
        names = [path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith((".", "build"))]
        self.assertTrue(names)
        self.assertEqual(top_level_faults(names), [])


if __name__ == "__main__":
    unittest.main()
