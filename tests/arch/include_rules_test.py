#!/usr/bin/env python3
"""Which folder may include which, and which folder may see which library: the arrows of ARCHITECTURE.md."""
import re
import unittest

from tree import ROOT, cpp_files, includes, relative

# Direct arrows; what lies behind an arrow may be included too. evaluate is the oracle: it never sees what it judges.
EDGES = {
    "policy/base": (),
    "policy/net": ("policy/base",),
    "policy/api": ("policy/net",),
    "policy/archive": ("policy/api",),
    "policy/store": ("policy/api",),
    "policy/model": ("policy/store",),
    "policy/scope": ("policy/model",),
    "policy/evaluate": ("policy/store",),
    "policy/program": ("policy/net",),
    "policy/diff": ("policy/program",),
    "policy/compile": ("policy/model", "policy/diff"),
    "enforcer/files": ("policy/base",),
    "enforcer/checkpoint": ("enforcer/files", "policy/archive"),
    "enforcer/netlink": ("policy/diff",),
    "enforcer/kernel": ("enforcer/netlink",),
    "enforcer/conntrack": ("enforcer/netlink",),
    "enforcer/link": ("enforcer/netlink",),
    "enforcer/observe": ("enforcer/netlink",),
    "enforcer/flow": ("enforcer/files", "enforcer/netlink", "policy/evaluate"),
    "enforcer/source": ("enforcer/files", "policy/store"),
    "enforcer/sandbox": ("enforcer/files", "policy/store"),
    "enforcer/sink": ("enforcer/files", "enforcer/flow"),
    "enforcer/reflector": ("policy/store",),
    "enforcer/kubeconfig": ("enforcer/files", "policy/api"),
    "enforcer/kube": ("enforcer/reflector", "enforcer/kubeconfig", "policy/scope"),
    "enforcer/install": ("policy/base",),
    "enforcer/agent": (
        "enforcer/kernel",
        "enforcer/conntrack",
        "enforcer/link",
        "enforcer/observe",
        "enforcer/flow",
        "enforcer/source",
        "enforcer/checkpoint",
        "enforcer/sandbox",
        "enforcer/sink",
        "enforcer/kube",
        "enforcer/install",
        "policy/compile",
        "policy/evaluate",
    ),
    "enforcer/cli": ("enforcer/agent", "enforcer/install"),
    "enforcer": ("enforcer/cli",),  # main.cpp
    "cni": ("policy/net",),
}

# Header prefix -> the folders that may include it.
LIBRARIES = {
    "libnftnl/": ("enforcer/netlink", "enforcer/kernel", "enforcer/link", "enforcer/observe"),
    "libmnl/": ("enforcer/netlink", "enforcer/kernel", "enforcer/link", "enforcer/observe", "enforcer/conntrack", "enforcer/flow"),
    "yaml-cpp/": ("policy/api",),
    "nlohmann/": ("cni",),
    "simdjson": ("policy/api", "enforcer/sandbox", "enforcer/flow", "enforcer/sink", "enforcer/kubeconfig", "enforcer/install", "enforcer/agent", "enforcer/cli"),
    "boost/": ("enforcer/sink", "enforcer/kube", "enforcer/agent", "enforcer/cli"),
    "spdlog/": ("enforcer/agent",),
    "fmt/": ("enforcer/agent", "enforcer/cli"),
    "CLI/": ("enforcer/cli",),
    "tl/": tuple(EDGES),
}

# Standard headers that bring effects: never in policy/, which is a function of its input. <chrono> has the calendar too;
# asking a clock is for the house rules to find.
EFFECTS = {
    "atomic", "condition_variable", "ctime", "filesystem", "fstream", "future", "iostream", "mutex",
    "random", "shared_mutex", "thread", "time.h",
}  # fmt: skip
PURE_SYSTEM = {"arpa/inet.h", "netinet/in.h"}  # inet_pton and its types
SYSTEM = re.compile(
    r"^(sys|linux|arpa|netinet|net|bits|asm)/|^(unistd|fcntl|poll|signal|pthread|sched|syslog|netdb|dirent)\.h$"
)


def folder_of(path):
    """policy/net/ip.h -> policy/net; enforcer/main.cpp -> enforcer; cni/main.cpp -> cni; None for an unknown place."""
    folder = path.rpartition("/")[0]
    return folder if folder in EDGES else None


def reach(folder):
    """Every folder that this one may include: itself and all that lies behind its arrows."""
    seen, todo = set(), [folder]
    while todo:
        here = todo.pop()
        if here not in seen:
            seen.add(here)
            todo.extend(EDGES[here])
    return seen


def library_fault(folder, header):
    for prefix, allowed in LIBRARIES.items():
        if header.startswith(prefix):
            return None if folder in allowed else f"<{header}> may be included only in {', '.join(allowed)}"
    if header in PURE_SYSTEM:
        return None
    if folder.startswith("policy/") and (header in EFFECTS or SYSTEM.match(header)):
        return f"<{header}> brings effects into policy/"
    if "/" in header and not SYSTEM.match(header):
        return f"<{header}> belongs to a library that no rule names"
    return None


def include_fault(folder, header, quoted):
    if not quoted:
        return library_fault(folder, header)
    target = folder_of(header)
    if target is None:
        return f'"{header}" is in no known folder (write the path from the root of the tree)'
    if target not in reach(folder):
        return f'"{header}": {folder} may not see {target}'
    return None


def faults(path, text):
    """All that is wrong with the #include lines of one file."""
    folder = folder_of(path)
    if folder is None:
        return [f"{path}: a folder that the table of arrows does not know"]
    answers = ((line, include_fault(folder, header, quoted)) for line, header, quoted in includes(text))
    return [f"{path}:{line}: {fault}" for line, fault in answers if fault]


def test_faults(path, text):
    """Tests of policy/ stay as pure as policy/: they know nothing of enforcer/."""
    if not path.startswith("tests/policy/"):
        return []
    return [
        f'{path}:{line}: "{header}": a test of policy/ may not see enforcer/'
        for line, header, quoted in includes(text)
        if quoted and header.startswith("enforcer/")
    ]


def linked(text):
    """podfence_folder(podfence_x LINK a b) -> the podfence libraries behind LINK."""
    match = re.search(r"podfence_folder\(\s*podfence_(\w+)([^)]*)\)", text)
    return set(re.findall(r"\bpodfence_(\w+)", match.group(2))) if match else None


class TheRuleFires(unittest.TestCase):
    def assert_fault(self, path, line, expected):
        found = faults(path, line + "\n")
        self.assertEqual(len(found), 1, found)
        self.assertIn(expected, found[0])

    def test_on_an_arrow_against_the_direction(self):
        self.assert_fault("policy/net/ip.h", '#include "policy/api/meta.h"', "policy/net may not see policy/api")

    def test_on_an_oracle_that_sees_the_compiler(self):
        self.assert_fault("policy/evaluate/evaluate.cpp", '#include "policy/model/resolve.h"', "may not see policy/model")

    def test_on_parts_that_see_each_other(self):
        self.assert_fault("enforcer/flow/a.cpp", '#include "enforcer/kernel/kernel.h"', "may not see enforcer/kernel")

    def test_on_pure_code_that_sees_effects(self):
        self.assert_fault("policy/compile/compile.cpp", '#include "enforcer/agent/agent.h"', "may not see enforcer/agent")
        self.assert_fault("policy/compile/compile.cpp", "#include <thread>", "brings effects")
        self.assert_fault("policy/net/ip.cpp", "#  include <sys/socket.h>", "brings effects")

    def test_on_a_library_outside_its_folder(self):
        self.assert_fault("enforcer/flow/a.cpp", "#include <libnftnl/set.h>", "may be included only in")
        self.assert_fault("policy/store/a.cpp", "#include <yaml-cpp/yaml.h>", "may be included only in")
        self.assert_fault("policy/net/a.cpp", "#include <absl/strings/str_cat.h>", "no rule names")

    def test_on_a_folder_that_nobody_knows(self):
        self.assert_fault("policy/extras/a.cpp", "", "does not know")
        self.assert_fault("policy/net/deeper/a.cpp", "", "does not know")
        self.assert_fault("policy/net/a.cpp", '#include "ip.h"', "no known folder")

    def test_on_a_test_of_policy_that_sees_the_enforcer(self):
        self.assertTrue(test_faults("tests/policy/net/ip_test.cpp", '#include "enforcer/kernel/kernel.h"\n'))

    def test_not_on_what_is_allowed(self):
        text = '#include "policy/net/ip.h"\n#include <vector>\n#include <tl/expected.hpp>\n'
        self.assertEqual(faults("policy/compile/compile.cpp", text), [])

    def test_on_zero_files(self):
        with self.assertRaises(AssertionError):
            cpp_files("tests/arch")


class TheTree(unittest.TestCase):
    def test_arrows_form_no_circle(self):
        for folder, targets in EDGES.items():
            for target in targets:
                self.assertNotIn(folder, reach(target), f"{folder} <-> {target}")

    def test_product_files_keep_the_direction(self):
        found = [fault for path in cpp_files("policy", "enforcer", "cni") for fault in faults(relative(path), path.read_text())]
        self.assertEqual(found, [], "\n" + "\n".join(found))

    def test_test_files_keep_the_direction(self):
        found = [fault for path in cpp_files("tests") for fault in test_faults(relative(path), path.read_text())]
        self.assertEqual(found, [], "\n" + "\n".join(found))

    def test_link_lines_say_the_same(self):
        files = sorted((ROOT / "policy").glob("*/CMakeLists.txt")) + sorted((ROOT / "enforcer").glob("*/CMakeLists.txt"))
        self.assertTrue(files, "no CMakeLists.txt found")
        for file in files:
            folder = relative(file.parent)
            self.assertIn(folder, EDGES, "a folder that the table of arrows does not know")
            libraries = linked(file.read_text())
            self.assertIsNotNone(libraries, f"{folder}: no podfence_folder() call")
            allowed = {target.split("/")[-1] for target in reach(folder) if target != folder}
            self.assertLessEqual(libraries, allowed, f"{folder}: links more than it may include")


if __name__ == "__main__":
    unittest.main()
