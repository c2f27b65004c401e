"""The registry of checkpoints: one truth about the champion, whatever dies or is edited meanwhile."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engine.checkpoint import POLICY, RECORD, read
from engine.errors import CheckpointError, DataError, UsageError
from engine.registry import CHECKPOINTS, Registry
from engine.registry_story import HISTORY
from engine.run.retrain.registry_commands import verify
from engine.settings import build
from tests.registries import LINEAGE, ids, registry_of, sibling

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def two(tmp_path, agent):
    """A registry of two checkpoints without a champion."""
    return registry_of(tmp_path / "registry", agent)


def kinds(registry):
    return [event.kind for event in registry.history()]


def test_new_registry_is_empty_and_has_no_champion(tmp_path):
    registry = Registry(tmp_path / "registry")
    assert registry.champion() is None
    assert registry.history() == []
    assert registry.verify().count == 0
    assert not (tmp_path / "registry").exists()  # looking makes nothing


def test_added_checkpoint_is_a_whole_copy_under_its_digest(tmp_path, agent):
    registry = Registry(tmp_path / "registry")
    name = registry.add(agent, LINEAGE)
    digest = read(agent).digest
    assert name == digest[:12]
    assert read(registry.folder(name)).digest == digest
    (event,) = registry.history()
    assert (event.number, event.kind) == (1, "added")
    assert event.body == {
        "id": name,
        "digest": digest,
        "data": "d" * 64,
        "settings": "5" * 64,
        "parent": None,
        "scores": {"validation": 0.5},
        "trials": 3,
        "seeds": 2,
        "scored": True,
    }
    assert registry.champion() is None  # adding promotes nobody


def test_adding_the_same_checkpoint_again_changes_nothing(two, tmp_path):
    before = (two.path / HISTORY).read_bytes()
    assert two.add(tmp_path / "sibling-1", LINEAGE) == ids(two)[0]
    assert (two.path / HISTORY).read_bytes() == before


def test_rollback_where_no_registry_is_leaves_nothing_behind(tmp_path):
    with pytest.raises(UsageError, match="found no champion at all"):
        Registry(tmp_path / "none").rollback("no")
    assert list(tmp_path.iterdir()) == []
    settings = build({"registry": {"dir": str(tmp_path / "none")}}, "")
    with pytest.raises(UsageError, match="no registry here yet"):
        verify(settings, as_json=True)


def test_file_where_the_registry_should_be_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"registry\.dir .*file: expected a folder, or none yet"):
        Registry(tmp_path / "file")


def test_champion_is_what_the_last_promotion_or_rollback_says(two):
    first, second = ids(two)
    two.promote(first, "the first", "person")
    promoted = two.promote(second, "won", "rules")
    assert promoted == two.champion()
    assert (promoted.id, promoted.number) == (second, 4)
    assert promoted.folder == two.folder(second)
    assert promoted.digest == read(promoted.folder).digest
    assert two.rollback("drew down") == first
    assert (two.champion().id, two.champion().number) == (first, 5)
    event = two.history()[-1]
    assert event.body == {"id": first, "previous": second, "reason": "drew down"}
    assert two.verify().count == 5


def test_second_rollback_goes_back_one_more_and_a_promotion_undoes_it(tmp_path, agent):
    registry = registry_of(tmp_path / "registry", agent, (1, 2, 3))
    one, two, three = ids(registry)
    for name in (one, two, three):
        registry.promote(name, "in turn", "person")
    assert registry.rollback("once") == two
    assert registry.rollback("twice") == one
    with pytest.raises(UsageError, match=f"found only {one}"):
        registry.rollback("thrice")
    registry.promote(three, "after all", "person")
    assert registry.rollback("again") == one  # what stood below it when it was promoted


def test_rollback_of_an_empty_registry_is_refused(tmp_path):
    with pytest.raises(UsageError, match="found no champion at all"):
        Registry(tmp_path / "registry").rollback("no")


def test_promoting_an_absent_id_or_the_champion_itself_changes_nothing(two):
    two.promote(ids(two)[0], "the first", "person")
    before = (two.path / HISTORY).read_bytes()
    with pytest.raises(UsageError, match="no checkpoint 0123456789ab in the registry"):
        two.promote("0123456789ab", "who", "person")
    with pytest.raises(UsageError, match="is the champion already"):
        two.promote(ids(two)[0], "again", "person")
    with pytest.raises(UsageError, match="no checkpoint nobody"):
        two.folder("nobody")
    assert (two.path / HISTORY).read_bytes() == before


def test_checkpoint_with_wrong_hashes_is_refused_and_leaves_no_trace(tmp_path, agent):
    broken = sibling(agent, tmp_path / "broken", 9)
    with (broken / POLICY).open("ab") as file:
        file.write(b"x")
    registry = registry_of(tmp_path / "registry", agent, (1,))
    with pytest.raises(CheckpointError, match="was changed after it was written"):
        registry.add(broken, LINEAGE)
    assert len(ids(registry)) == 1
    assert len(list((registry.path / CHECKPOINTS).iterdir())) == 1


def test_copy_that_was_changed_is_found_by_verify_and_never_trades(two):
    first, second = ids(two)
    two.promote(first, "the first", "person")
    two.promote(second, "won", "rules")
    (two.folder(second) / RECORD).write_text((two.folder(first) / RECORD).read_text())
    for refused in (two.verify, two.champion):
        with pytest.raises(CheckpointError, match="the copy was replaced"):
            refused()
    assert two.rollback("its copy is damaged") == first  # the way out stays open
    assert two.champion().id == first


@pytest.mark.parametrize(
    ("number", "old", "new"),
    [(1, '"parent":null', '"parent":"abc"'), (3, "the first", "the best!"), (2, "added", "adder")],
)
def test_edited_line_is_found_and_nothing_is_read_from_it(two, number, old, new):
    two.promote(ids(two)[0], "the first", "person")
    path = two.path / HISTORY
    lines = path.read_text().splitlines(keepends=True)
    assert old in lines[number - 1]
    lines[number - 1] = lines[number - 1].replace(old, new)
    path.write_text("".join(lines))
    for refused in (two.verify, two.champion, lambda: two.rollback("x")):
        with pytest.raises(DataError, match=f"breaks at line {number}"):
            refused()


def test_removed_line_is_found(two):
    two.promote(ids(two)[0], "the first", "person")
    path = two.path / HISTORY
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:1] + lines[2:]))
    with pytest.raises(DataError, match="breaks at line 2"):
        two.verify()


def test_torn_last_line_is_not_trusted_and_is_set_aside_by_the_next_write(two):
    first, second = ids(two)
    two.promote(first, "the first", "person")
    path = two.path / HISTORY
    before = path.read_bytes()
    two.promote(second, "won", "rules")
    whole = path.read_bytes()
    for cut in range(len(before), len(whole)):  # killed after any number of bytes
        path.write_bytes(whole[:cut])
        assert two.champion().id == first
    assert two.verify().count == 3
    two.promote(second, "won after all", "rules")
    assert two.champion().id == second
    assert two.verify().count == 4
    torn = (two.path / f"{HISTORY}.torn").read_bytes()
    assert torn == whole[len(before) :]  # its newline was cut off, one was put there


KILLED = """
import os, signal, sys
from pathlib import Path
from engine import registry
from tests.registries import LINEAGE
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
setattr(registry if sys.argv[1] != "rename" else registry.os, sys.argv[1], die)
if sys.argv[1] == "write":  # the line is never written
    registry.Registry._write = die
registry.Registry(Path(sys.argv[2])).add(Path(sys.argv[3]), LINEAGE)
"""


@pytest.mark.parametrize(
    "step", [pytest.param("rename", marks=pytest.mark.very_slow), "to_disk", "write"]
)
def test_kill_between_copy_and_history_line_changes_no_champion(two, tmp_path, agent, step):
    two.promote(ids(two)[0], "the first", "person")
    before = (two.path / HISTORY).read_bytes()
    new = sibling(agent, tmp_path / "new", 7)
    command = [sys.executable, "-c", KILLED, step, str(two.path), str(new)]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    assert (two.path / HISTORY).read_bytes() == before
    assert two.champion().id == ids(two)[0]
    two.verify()
    name = two.add(new, LINEAGE)  # the same again: finds or replaces what lies there
    two.promote(name, "won", "rules")
    assert two.champion().digest == read(new).digest
    assert [path.name for path in (two.path / CHECKPOINTS).glob(".*")] == []


def test_hidden_file_of_a_desktop_is_no_dead_copy(two, tmp_path, agent):
    left = two.path / CHECKPOINTS / ".DS_Store"
    left.write_text("whatever")
    two.add(sibling(agent, tmp_path / "new", 7), LINEAGE)
    assert left.is_file()


TURNS = """
import sys
from pathlib import Path
from engine.registry import Registry
registry, names = Registry(Path(sys.argv[1])), sys.argv[2:]
for turn in range(20):
    try:
        registry.promote(names[turn % 2], f"turn {turn}", "rules")
    except Exception as error:
        assert "is the champion already" in str(error), error
"""


def test_two_processes_writing_leave_one_whole_history(two):
    first, second = ids(two)
    orders = ((first, second), (second, first))
    children = [
        subprocess.Popen([sys.executable, "-c", TURNS, str(two.path), *order], cwd=ROOT)
        for order in orders
    ]
    assert [child.wait(60) for child in children] == [0, 0]
    proof = two.verify()
    assert proof.count == len(two.history()) == 2 + kinds(two).count("promoted")
    assert kinds(two).count("promoted") >= 20
    for before, after in zip(two.history()[2:], two.history()[3:], strict=False):
        assert after.body["previous"] == before.body["id"]


def test_history_is_plain_lines_that_anybody_can_read(two):
    lines = (two.path / HISTORY).read_text().splitlines()
    assert [json.loads(line)["body"]["id"] for line in lines] == ids(two)


def test_registry_that_cannot_be_written_says_so(two, tmp_path):
    two.promote(ids(two)[0], "the first", "person")
    if os.geteuid() == 0:
        (tmp_path / "file").write_text("")
        with pytest.raises(DataError, match="the registry cannot be written"):
            Registry(tmp_path / "file" / "registry").add(tmp_path / "sibling-1", LINEAGE)
        return
    two.path.chmod(0o500)
    with pytest.raises(DataError, match="the registry cannot be written"):
        two.promote(ids(two)[1], "no", "person")
    two.path.chmod(0o700)
