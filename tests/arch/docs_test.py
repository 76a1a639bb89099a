#!/usr/bin/env python3
"""The documents tell the truth about names: paths, command-line verbs and presets that they cite exist."""
import json
import re
import unittest

from tree import ROOT

DOCUMENTS = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
OTHER_FILES = ("LICENSE", ".clang-format", ".clang-tidy", ".ci/run", "tests/run.sh", "deploy/quickstart.sh")
TOP_LEVEL = ("policy", "enforcer", "cni", "deploy", "tests", ".ci")
CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)
PATH = re.compile(rf"(?<![\w/.$~-])((?:{'|'.join(re.escape(name) for name in TOP_LEVEL)})/[\w./*-]*)")
LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#\s]+)")
VERB = re.compile(r"\bpodfence ([a-z][a-z-]+)\b")
PRESET = re.compile(r"--preset[ =]([a-z]+)")


def code_spans(text):
    """What stands in `code` or in a fenced block: there a name is meant as a name."""
    return "\n".join(match.group(0) for match in CODE.finditer(text))


def exists(path, root):
    if "*" in path:
        return any(root.glob(path))
    return (root / path).exists()


def path_faults(name, text, root=ROOT):
    named = {match.group(1).rstrip(".,") for match in PATH.finditer(code_spans(text))}
    named |= {match.group(1) for match in LINK.finditer(text)}
    return [f"{name}: {path} does not exist" for path in sorted(named) if not exists(path, root)]


def verb_faults(name, text, verbs):
    named = {match.group(1) for match in VERB.finditer(code_spans(text))}
    return [f"{name}: 'podfence {verb}' is no command" for verb in sorted(named - verbs)]


def preset_faults(name, text, presets):
    named = {match.group(1) for match in PRESET.finditer(code_spans(text))}
    return [f"{name}: preset {preset} does not exist" for preset in sorted(named - presets)]


def verbs_of_the_program(root=ROOT):
    """The names given to add_subcommand() below enforcer/cli."""
    sources = (path.read_text() for path in sorted((root / "enforcer/cli").glob("*.cpp")))
    return {verb for text in sources for verb in re.findall(r'add_subcommand\(\s*"([a-z-]+)"', text)}


def presets_of_the_build(root=ROOT):
    presets = json.loads((root / "CMakePresets.json").read_text())["configurePresets"]
    return {preset["name"] for preset in presets if not preset.get("hidden")}


class TheRuleFires(unittest.TestCase):
    def test_on_a_path_that_is_gone(self):
        self.assertEqual(len(path_faults("A.md", "See `policy/gone/x.h`, not `policy/base/result.h`.")), 1)
        self.assertEqual(len(path_faults("A.md", "See [it](deploy/gone.md) and [that](https://example.org/x).")), 1)
        self.assertEqual(len(path_faults("A.md", "```\nls policy/*/*.gone\n```")), 1)

    def test_on_a_verb_that_is_gone(self):
        self.assertEqual(len(verb_faults("A.md", "Run `podfence fly --now` or `podfence status`.", {"status"})), 1)

    def test_on_a_preset_that_is_gone(self):
        self.assertEqual(len(preset_faults("A.md", "`cmake --preset warp`, `cmake --preset dev`", {"dev"})), 1)

    def test_not_on_prose(self):
        self.assertEqual(verb_faults("A.md", "With podfence everything is logged.", set()), [])


class TheDocuments(unittest.TestCase):
    def each(self):
        for name in DOCUMENTS:
            path = ROOT / name
            self.assertTrue(path.is_file(), f"{name} is missing")
            text = path.read_text()
            self.assertGreater(len(text), 200, f"{name} says nothing")
            yield name, text

    def test_are_there(self):
        for name in OTHER_FILES:
            self.assertTrue((ROOT / name).is_file(), f"{name} is missing")

    def test_name_paths_that_exist(self):
        found = [fault for name, text in self.each() for fault in path_faults(name, text)]
        self.assertEqual(found, [], "\n" + "\n".join(found))

    def test_name_commands_that_exist(self):
        verbs = verbs_of_the_program()
        self.assertIn("agent", verbs, "no command found in enforcer/cli")
        found = [fault for name, text in self.each() for fault in verb_faults(name, text, verbs)]
        self.assertEqual(found, [], "\n" + "\n".join(found))

    def test_name_presets_that_exist(self):
        presets = presets_of_the_build()
        found = [fault for name, text in self.each() for fault in preset_faults(name, text, presets)]
        self.assertEqual(found, [], "\n" + "\n".join(found))

    def test_architecture_is_short_enough_to_be_read(self):
        self.assertLessEqual((ROOT / "ARCHITECTURE.md").read_text().count("\n"), 200)

    def test_architecture_names_every_folder_of_code(self):
        text = (ROOT / "ARCHITECTURE.md").read_text()
        folders = {path.parent.name for side in ("policy", "enforcer") for path in (ROOT / side).glob("*/CMakeLists.txt")}
        self.assertTrue(folders)
        missing = sorted(folder for folder in folders if not re.search(rf"\b{folder}/", text))
        self.assertEqual(missing, [], "ARCHITECTURE.md does not name these folders")


if __name__ == "__main__":
    unittest.main()
