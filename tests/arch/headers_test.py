#!/usr/bin/env python3
"""Every header compiles alone: headers_test.py COMPILER [FLAG...]. A file with one header after another would hide what
a header forgot to include."""
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tree import PRODUCT, ROOT, relative


def fault(compiler, flags, header, root):
    """What the compiler says about a file that includes nothing but this header; None when it is content."""
    run = subprocess.run(
        [compiler, *flags, "-std=c++20", f"-I{root}", "-fsyntax-only", "-x", "c++", "-"],
        input=f'#include "{header}"\n',
        capture_output=True,
        text=True,
        check=False,
    )
    return None if run.returncode == 0 else f"{header} does not compile alone:\n{run.stderr[:2000]}"


def the_rule_fires(compiler, flags):
    """A header that forgets an include is found, and one that does not is left alone."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "bad.h").write_text("#pragma once\nstd::string name();\n")
        (root / "good.h").write_text("#pragma once\n#include <string>\nstd::string name();\n")
        return fault(compiler, flags, "bad.h", root) is not None and fault(compiler, flags, "good.h", root) is None


def main(compiler, flags):
    if not the_rule_fires(compiler, flags):
        return "the check finds nothing: a bad header passed, or a good one did not"
    folders = [ROOT / name for name in (*PRODUCT, "tests")]
    headers = sorted(relative(path) for folder in folders for path in folder.rglob("*.h"))
    if not headers:
        return "no header found"
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        faults = [said for said in pool.map(lambda header: fault(compiler, flags, header, ROOT), headers) if said]
    print(f"{len(headers)} headers, {len(faults)} that do not compile alone")
    return "\n".join(faults) or None


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: headers_test.py COMPILER [FLAG...]")
    sys.exit(main(sys.argv[1], sys.argv[2:]))
