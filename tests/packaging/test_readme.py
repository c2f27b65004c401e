"""The README keeps its word: every module in the tree, every command real, no stale names."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.packaging.test_cli import barwise

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PACKAGES = ("engine", "strategies", "agents", "brokers")


def modules() -> list[str]:
    found = [path for name in PACKAGES for path in (ROOT / name).rglob("*.py")]
    return sorted(str(path.relative_to(ROOT)) for path in found if path.name != "__init__.py")


def test_tree_names_every_module_once_with_a_line_about_it():
    tree = README[README.index("## The house") :]
    listed = re.findall(r"^  (\S+\.py) +(\S.*)$", tree, flags=re.M)
    folder, seen = "", []
    for line in tree.splitlines():
        if match := re.match(r"^([a-z_/]+)/ ", line):
            folder = match[1]
        elif match := re.match(r"^  (\S+\.py) ", line):
            seen.append(f"{folder}/{match[1]}")
    assert listed
    assert sorted(seen) == modules()


@pytest.mark.parametrize(
    "command", sorted(set(re.findall(r"^\| `barwise ([a-z ]+?)[` ]*(?:[A-Z\[`]|\|)", README, re.M)))
)
def test_every_command_of_the_table_exists(command):
    assert barwise(*command.split(), "--help").returncode == 0


def test_files_named_in_the_readme_exist():
    named = set(
        re.findall(r"`((?:engine|agents|strategies|brokers|tests|configs)/[\w/.-]+)`", README)
    )
    missing = [name for name in named if not (ROOT / name).exists()]
    assert named
    assert missing == []


def test_repository_names_no_registry_and_no_machine():
    done = subprocess.run(
        ["git", "ls-files", "-z"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    if done.returncode:
        pytest.skip("not a git checkout")
    words = ("pypi" + ".org", "pypi" + "/simple", "/" + "work/", "index" + "-url")
    for name in filter(None, done.stdout.split("\0")):
        path = ROOT / name
        if path.suffix in (".gz", ".png") or "vendor" in name or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8")
        assert not [word for word in words if word in text], name
