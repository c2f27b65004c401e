"""The table of faults and the tests named after them say the same."""

import re
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).parent
TESTS = HERE.parent
FAULTS = [f"F{n}" for n in range(1, 63)]


def named_after():
    """The files that have a test named after each fault."""
    found = defaultdict(set)
    for path in TESTS.rglob("test_*.py"):
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE):
            for number in re.findall(r"_f(\d+)(?=_)", name):
                found[f"F{number}"].add(path)
    return found


def test_every_fault_has_a_row_and_every_row_names_files_that_test_it():
    rows = re.findall(r"^\| (F\d+) \|.*\| ([^|]+) \|$", (HERE / "README.md").read_text(), re.M)
    assert [fault for fault, _ in rows] == FAULTS
    tested, folders = named_after(), {"gateway": "contract/gateway", "unit": "unit"}
    for fault, cell in rows:
        for name in re.findall(r"`([^`]+)`", cell):
            folder, _, file = name.rpartition("/")
            path = TESTS / folders[folder] / file if folder else HERE / file
            assert path in tested[fault], f"{fault}: {name} has no test_{fault.lower()}_..."
        assert "`" in cell, fault


def test_no_test_is_named_after_a_fault_that_is_not_in_the_table():
    assert sorted(named_after(), key=lambda fault: int(fault[1:])) == FAULTS
