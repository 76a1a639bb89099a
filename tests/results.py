#!/usr/bin/env python3
"""Counts what a ctest run did: results.py FOLDER prints "PASSED FAILED SKIPPED".

The folder holds ctest.xml (ctest --output-junit) and one XML file for each GoogleTest program. A GoogleTest program
counts by its cases, every other test as one; a program that failed without saying which case did counts as one failure.
What failed and was run again has its second results in the folder "again" there, and these count.
"""
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path


def cases_of(file):
    """(passed, failed, skipped) of one GoogleTest program."""
    failed = skipped = passed = 0
    for case in ElementTree.parse(file).getroot().iter("testcase"):
        if case.get("status") == "notrun":
            continue
        if case.find("failure") is not None:
            failed += 1
        elif case.get("result") == "skipped" or case.find("skipped") is not None:
            skipped += 1
        else:
            passed += 1
    return passed, failed, skipped


def programs_of(folder):
    return {file.stem.removesuffix("_test"): cases_of(file) for file in folder.glob("*.xml") if file.name != "ctest.xml"}


def statuses_of(folder, kept=("run", "fail", "notrun")):
    """How each test of a ctest run ended."""
    tests = ElementTree.parse(folder / "ctest.xml").getroot().iter("testcase")
    return {test.get("name"): test.get("status") for test in tests if test.get("status") in kept}


def count(folder):
    programs, statuses = programs_of(folder), statuses_of(folder)
    again = folder / "again"
    if (again / "ctest.xml").exists():
        programs.update(programs_of(again))
        statuses.update(statuses_of(again, ("run", "fail")))
    total = [sum(column) for column in zip(*programs.values())] if programs else [0, 0, 0]
    for name, status in statuses.items():
        known = programs.get(name.removesuffix("_test"))
        if status == "run":
            total[0] += known is None
        elif status == "fail":
            total[1] += known is None or known[1] == 0
        else:
            total[2] += 1
    return total


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: results.py FOLDER")
    print(*count(Path(sys.argv[1])))
