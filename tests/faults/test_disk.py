"""Faults of the disk: full, refusing, read-only."""

import os
import resource
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import text

from engine.errors import DataError, UsageError
from engine.journal import Journal
from engine.run.paper.room import JOURNAL
from tests.fault_account import account
from tests.paper_account import START

NOBODY = 65534


def require_intents_first(acc):
    """Whatever was sent was durable before (I4), and sent once."""
    known = {entry.body["client_order_id"] for entry in acc.entries("intent")}
    assert set(acc.posts) <= known
    assert len(acc.posts) == len(set(acc.posts))


class FullDisk:
    """From one commit on the journal's file may not grow; tells what each commit was about.

    What is written there is longer than the room that is left in the file's last page.
    """

    def __init__(self, patch, nth=None):
        self.kinds, self.nth, self.failed = [], nth, set()
        real = Journal.commit

        def commit(journal):
            waiting = {row["kind"] for row in journal._waiting}
            if waiting:
                self.kinds.append(waiting)
            if waiting and nth is not None and len(self.kinds) >= nth:
                with journal._engine.connect() as connection:
                    pages = connection.execute(text("PRAGMA page_count")).scalar()
                    connection.execute(text(f"PRAGMA max_page_count={pages}"))
                journal.append("pad", "", {"pad": "-" * 10_000})
            try:
                real(journal)
            except DataError:
                self.failed |= waiting
                raise

        patch.setattr(Journal, "commit", commit)


@pytest.fixture(scope="module")
def commits(tmp_path_factory, agent):
    """What each commit of the first evening is about, and what is ordered."""
    with pytest.MonkeyPatch.context() as patch:
        disk = FullDisk(patch)
        with account(tmp_path_factory.mktemp("whole"), agent) as acc:
            acc.decided()
            assert [min(kinds) for kinds in disk.kinds] == [
                "begun", "opened", "bars", "decision", "intent", "order", "order", "order", "ended",
            ]  # fmt: skip
            return disk.kinds, acc.wanted


@pytest.mark.parametrize("nth", range(1, 10))
def test_f49_a_full_disk_sends_nothing_that_is_not_written_and_goes_on_once_there_is_room(
    tmp_path, agent, commits, monkeypatch, nth
):
    kinds, wanted = commits
    with account(tmp_path, agent) as acc:
        with monkeypatch.context() as patch:
            disk = FullDisk(patch, nth)
            found = acc.look()
        assert disk.failed >= kinds[nth - 1]
        assert found.state == "halted"
        assert "make room on the disk" in found.message
        assert len(acc.posts) == max(0, min(nth - 5, 3))  # not one more, from the first failure on
        require_intents_first(acc)
        if acc.look().state == "halted":  # where the halt itself could be written
            acc.resume()
            acc.look()
        assert acc.wanted == wanted
        require_intents_first(acc)
        assert [x.kind for x in acc.entries()].count("decision") == 1


def test_f49_a_disk_with_little_room_halts_before_anything_is_asked(tmp_path, agent, monkeypatch):
    with account(tmp_path, agent) as acc:
        usage = shutil.disk_usage(tmp_path)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_000_000))
        found = acc.look()
        assert found.state == "halted"
        assert "make room" in found.message
        assert acc.faults.log == []


@contextmanager
def no_file_above(size):
    """The kernel refuses to write beyond this many bytes of any file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("more", [0, 20_000, 60_000])
def test_f50_writes_that_the_kernel_refuses_send_nothing(tmp_path, agent, commits, more):
    with account(tmp_path, agent) as acc:
        with suppress(UsageError), Journal(tmp_path / JOURNAL):
            size = (tmp_path / JOURNAL).stat().st_size
        with no_file_above(size + more):
            found = acc.look()
        assert found.state == "halted"
        assert acc.posts == []
        assert acc.look().state == "waiting"
        assert acc.wanted == commits[1]


def test_f50_a_journal_that_is_read_only_sends_nothing(agent):
    # Root may write everywhere, so the look is lived as nobody where we are root.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        with account(folder / "paper", agent) as acc:
            acc.decided()
            sent, was = list(acc.posts), os.geteuid()
            acc.open_plus(START)
            (folder / "paper" / JOURNAL).chmod(0o444)
            (folder / "paper" / "lock").chmod(0o666)
            (folder / "paper").chmod(0o555)
            try:
                os.seteuid(NOBODY if was == 0 else was)
                found = acc.look()
            finally:
                os.seteuid(was)
                (folder / "paper").chmod(0o755)
                (folder / "paper" / JOURNAL).chmod(0o600)
            assert found.state == "halted"
            assert JOURNAL in found.message
            assert acc.posts == sent
            assert acc.look().state == "closed"
            acc.require_sound()
