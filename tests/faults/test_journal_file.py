"""Faults of the journal's file: corrupted, cut off, old, of another version."""

import sqlite3
from contextlib import closing

import pytest

from engine.errors import DataError
from engine.journal import Journal
from engine.run.paper.cycle import load
from engine.run.paper.room import JOURNAL
from tests.fault_account import account
from tests.kill_runner import digest
from tests.paper_account import START


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
