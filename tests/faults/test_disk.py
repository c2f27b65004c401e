"""Faults of the disk and of the journal: full, read-only, corrupted, old, of another version."""

import os
import resource
import shutil
import sqlite3
import tempfile
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import text

from engine.errors import DataError, UsageError
from engine.journal import Journal
from engine.run.paper.cycle import load
from engine.run.paper.room import JOURNAL
from tests.fault_account import account
from tests.kill_runner import digest
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


@pytest.fixture(scope="module")
def lived(tmp_path_factory, agent):
    """An account with one session behind it and orders at the venue; yields it and its journal."""
    with account(tmp_path_factory.mktemp("lived"), agent) as acc:
        acc.filled()
        acc.close_plus(START)
        assert acc.look().state == "waiting"
        yield acc, (acc.room.folder / JOURNAL).read_bytes()


def state_of(acc, folder):
    """What a journal adds up to; None where it is refused."""
    room = acc.another(folder)
    try:
        with Journal(folder / JOURNAL, durable=False) as journal:
            return digest(load(room, journal))
    except DataError:
        return None


def test_f51_no_flipped_byte_of_the_journal_is_read_as_another_state(tmp_path, lived):
    acc, whole = lived
    (tmp_path / JOURNAL).write_bytes(whole)
    expected, refused = state_of(acc, tmp_path), 0
    assert expected is not None
    step = len(whole) // 90
    for place in [*range(0, 100, 7), *range(100, len(whole), step)]:
        data = bytearray(whole)
        data[place] ^= 0x15
        for old in tmp_path.iterdir():
            old.unlink()
        (tmp_path / JOURNAL).write_bytes(data)
        found = state_of(acc, tmp_path)
        refused += found is None
        assert found in (None, expected), place
    assert refused > 40


def test_f51_a_journal_cut_off_at_any_page_is_refused(tmp_path, lived):
    acc, whole = lived
    for pages in range(1, len(whole) // 4096):
        for old in tmp_path.iterdir():
            old.unlink()
        (tmp_path / JOURNAL).write_bytes(whole[: pages * 4096])
        assert state_of(acc, tmp_path) is None, pages


def test_f51_an_edited_entry_halts_and_nothing_is_asked_or_sent(tmp_path, lived):
    acc, whole = lived
    room = acc.another(tmp_path / "edited")
    (room.folder / JOURNAL).write_bytes(whole)
    with closing(sqlite3.connect(room.folder / JOURNAL)) as file:
        file.execute("UPDATE entries SET body = replace(body, 'buy', 'bye') WHERE kind = 'order'")
        file.execute("UPDATE entries SET body = replace(body, '1', '2') WHERE kind = 'fill'")
        file.commit()
    require_halts(acc, room, "the hash chain breaks")


def require_halts(acc, room, said):
    """A look with another journal halts, and sends nothing."""
    before, ours = list(acc.posts), acc.room
    acc.room = room
    try:
        found = acc.look()
    finally:
        acc.room = ours
    assert found.state == "halted", found
    assert said in found.message
    assert acc.posts == before


def test_f51_a_journal_that_lost_its_log_is_an_old_one_and_halts(tmp_path, agent):
    with account(tmp_path / "paper", agent) as acc:
        path = acc.room.folder / JOURNAL
        acc.look()  # the lock, the first entries
        acc.filled()
        # Another reader keeps the log from being folded into the file, as after a kill.
        with closing(sqlite3.connect(path)) as reader:
            reader.execute("SELECT count(*) FROM entries").fetchone()
            before = path.read_bytes()
            acc.close_plus(START)
            acc.look()
            assert path.with_name(f"{JOURNAL}-wal").stat().st_size > 0
            room = acc.another(tmp_path / "copied")
            (room.folder / JOURNAL).write_bytes(path.read_bytes())  # without its -wal
        assert before == (room.folder / JOURNAL).read_bytes()
        require_halts(acc, room, "the venue has this order of ours, the journal does not")


def test_f51_a_journal_that_is_gone_opens_no_account_that_trades(tmp_path, lived):
    acc, _ = lived
    before = list(acc.posts)
    acc.room, ours = acc.another(tmp_path / "empty"), acc.room
    try:
        found = acc.look()
    finally:
        acc.room = ours
    assert found.state == "halted"
    assert "expected no open order" in found.message
    assert acc.posts == before


def test_f52_a_backup_three_sessions_old_halts_until_it_is_rebased(tmp_path, agent):
    with account(tmp_path / "paper", agent) as acc:
        acc.filled()
        old = (acc.room.folder / JOURNAL).read_bytes()
        for session in acc.exchange.bars.sessions[-6:-3]:
            acc.session(session.item())
        assert {x.state for x in acc.told} <= {"waiting", "closed"}
        sent = list(acc.posts)
        (acc.room.folder / JOURNAL).write_bytes(old)
        acc.room.seen = None
        found = acc.look()
        assert found.state == "halted"
        assert "restore the newest journal" in found.message
        assert acc.posts == sent
        acc.resume()
        assert acc.look().state == "halted"
        assert acc.posts == sent
        acc.open_plus(acc.exchange.bars.sessions[-3].item())
        acc.resume(rebase=True)
        found = acc.look()
        assert found.state in ("closed", "waiting"), found
        assert acc.posts == sent
        assert len({x["client_order_id"] for x in acc.orders}) == len(acc.orders)


@pytest.mark.parametrize("version", ["3", "99"])
def test_f53_a_journal_of_a_newer_barwise_is_refused_untouched(tmp_path, agent, version):
    with account(tmp_path, agent) as acc:
        acc.decided()
        with closing(sqlite3.connect(tmp_path / JOURNAL)) as file:
            file.execute("UPDATE meta SET value = ? WHERE key = 'format'", (version,))
            file.commit()
        before, asked = (tmp_path / JOURNAL).read_bytes(), len(acc.faults.log)
        acc.room.seen = None
        found = acc.look()
        assert found.state == "halted"
        assert f"found {version}" in found.message
        assert len(acc.faults.log) == asked
        assert (tmp_path / JOURNAL).read_bytes() == before


def test_f53_a_journal_of_an_older_barwise_is_brought_up_to_date_beside_a_copy(tmp_path, agent):
    with account(tmp_path, agent) as acc:
        acc.decided()
        entries = acc.entries()
        with closing(sqlite3.connect(tmp_path / JOURNAL)) as file:
            file.execute("DROP INDEX entries_by_kind")
            file.execute("UPDATE meta SET value = '1' WHERE key = 'format'")
            file.commit()
        acc.room.seen = None
        acc.open_plus(START)
        assert acc.look().state == "closed"
        assert acc.entries()[: len(entries)] == entries
        with closing(sqlite3.connect(tmp_path / f"{JOURNAL}.format1")) as file:
            assert file.execute("SELECT count(*) FROM entries").fetchone() == (len(entries),)
        acc.require_sound()
