"""The README keeps its word: every module in the tree, every command real, no stale names."""

import re
import subprocess
from pathlib import Path

import pytest

from engine.errors import SettingsError
from engine.run.build import find_settings
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


def rows_of_the_guide() -> list[tuple[str, str, str]]:
    part = README[README.index("## What the guide asks for") : README.index("## The house")]
    rows = re.findall(r"^\| (.+?) \| (.+) \| `([^`]+)` \|$", part, re.M)
    lines = [line for line in part.splitlines() if line.startswith("| ") and "`test_" in line]
    assert len(rows) == len(lines) > 60
    return rows


@pytest.mark.parametrize(("option", "how", "proof"), rows_of_the_guide())
def test_row_of_the_guide_names_a_setting_that_works_and_a_test_that_exists(option, how, proof):
    # What stands in one row is set together; "mine" is the reader's own module of the README.
    given = [text for text in re.findall(r"`([^`]+)`", how) if re.match(r"[a-z_.0-9]+=", text)]
    told = tuple(text.replace(', "mine:gap_share"', "") for text in given)
    if "refused" in how:
        with pytest.raises(SettingsError, match=told[0].split("=")[0]):
            find_settings("demo", told)
    else:
        find_settings("demo", told)
    assert given or "barwise train" in how or "agents/" in how or how == "always", option
    file, _, name = proof.partition("::")
    (path,) = (ROOT / "tests").rglob(file)
    assert f"\ndef {name}(" in path.read_text(encoding="utf-8")


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
