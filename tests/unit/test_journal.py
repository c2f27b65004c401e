"""The journal: append-only, chained, and whole after a kill."""

import os
import signal
import sqlite3
import subprocess
import sys

import pytest

from engine.errors import DataError
from engine.journal import Journal


def test_entries_come_back_in_order_and_by_kind(tmp_path):
    with Journal(tmp_path / "j.sqlite") as journal:
        journal.append("decision", "2010-01-04", {"qty": [1.5, -2.0]})
        journal.append("fill", "2010-01-05", {"price": 10.25})
    with Journal(tmp_path / "j.sqlite") as journal:
        assert [entry.kind for entry in journal.entries()] == ["decision", "fill"]
        (fill,) = journal.entries("fill")
        assert fill.body == {"price": 10.25}
        assert journal.verify().count == 2
        journal.append("fill", "2010-01-06", {})
        journal.commit()
        assert journal.verify().count == 3


@pytest.mark.parametrize(
    "tampering",
    [
        "update entries set body = '{\"qty\":9}' where id = 2",
        "delete from entries where id = 2",
        "update entries set session = '2011-01-01' where id = 1",
        "update entries set id = 9 where id = 3",
    ],
)
def test_edited_or_removed_entry_breaks_the_chain(tmp_path, tampering):
    path = tmp_path / "j.sqlite"
    with Journal(path) as journal:
        for at in range(3):
            journal.append("decision", f"2010-01-0{at + 4}", {"qty": at})
    with sqlite3.connect(path) as connection:
        connection.execute(tampering)
    with Journal(path) as journal, pytest.raises(DataError, match="hash chain breaks"):
        journal.verify()


def test_file_that_is_no_journal_is_refused(tmp_path):
    path = tmp_path / "j.sqlite"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(DataError, match="not a journal"):
        Journal(path)


def test_journal_of_a_newer_format_is_refused(tmp_path):
    path = tmp_path / "j.sqlite"
    Journal(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("update meta set value = '99' where key = 'format'")
    with pytest.raises(DataError, match="format 2 or older expected, found 99"):
        Journal(path)


def test_what_was_committed_survives_a_kill(tmp_path):
    path = tmp_path / "j.sqlite"
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from engine.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "for at in range(1000000):\n"
        "    journal.append('decision', str(at), {'at': at})\n"
        "    journal.commit()\n"
        "    print(at, flush=True)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True
    )
    with child:
        told = [int(child.stdout.readline()) for _ in range(25)]
        os.kill(child.pid, signal.SIGKILL)
        told += [int(line) for line in child.stdout if line.endswith("\n")]
    with Journal(path) as journal:
        assert journal.verify().count >= told[-1] + 1
        assert [entry.body["at"] for entry in journal.entries()][:25] == told[:25]


def test_journal_of_format_1_is_brought_up_to_date_and_a_copy_of_it_kept(tmp_path):
    path = tmp_path / "j.sqlite"
    with Journal(path) as journal:
        journal.append("decision", "2010-01-04", {"qty": [1.5]})
    with sqlite3.connect(path) as connection:  # format 1 was the same without the index
        connection.execute("drop index entries_by_kind")
        connection.execute("update meta set value = '1' where key = 'format'")
    connection.close()
    with Journal(path) as journal:
        assert [entry.body for entry in journal.entries("decision")] == [{"qty": [1.5]}]
        assert journal.verify().count == 1
    with sqlite3.connect(path) as connection:
        names = {row[0] for row in connection.execute("select name from sqlite_master")}
        assert "entries_by_kind" in names
    connection.close()
    with sqlite3.connect(tmp_path / "j.sqlite.format1") as connection:
        assert connection.execute("select value from meta").fetchall() == [("1",)]
        assert connection.execute("select count(*) from entries").fetchall() == [(1,)]
    connection.close()


def test_full_disk_writes_nothing_and_the_journal_goes_on_where_it_was(tmp_path):
    with Journal(tmp_path / "j.sqlite") as journal:
        journal.append("decision", "2010-01-04", {"qty": 1})
        journal.commit()
        with journal._engine.connect() as connection:
            pages = connection.exec_driver_sql("pragma page_count").scalar()
            connection.exec_driver_sql(f"pragma max_page_count = {pages}")
        journal.append("decision", "2010-01-05", {"long": "x" * 100_000})
        with pytest.raises(DataError, match=r"full.*nothing of this step was recorded"):
            journal.commit()
        assert [entry.session for entry in journal.entries()] == ["2010-01-04"]
        journal.append("decision", "2010-01-05", {"qty": 2})
        journal.commit()
        assert journal.verify().count == 2


def test_verifying_from_a_proof_looks_at_the_new_entries_only(tmp_path):
    path = tmp_path / "j.sqlite"
    with Journal(path) as journal:
        journal.append("decision", "2010-01-04", {})
        journal.commit()
        proof = journal.verify()
        journal.append("decision", "2010-01-05", {})
        journal.commit()
        assert journal.verify(proof) == journal.verify()
    with sqlite3.connect(path) as connection:
        connection.execute("update entries set body = '{\"a\":1}' where id = 2")
    connection.close()
    with Journal(path) as journal, pytest.raises(DataError, match="breaks at entry 2"):
        journal.verify(proof)


def test_every_commit_reaches_the_disk_before_it_returns(tmp_path):
    with Journal(tmp_path / "j.sqlite") as journal, journal._engine.connect() as connection:
        assert connection.exec_driver_sql("pragma synchronous").scalar() == 2  # FULL
        assert connection.exec_driver_sql("pragma journal_mode").scalar() == "wal"


ADDING = (
    "import sys\n"
    "from pathlib import Path\n"
    "from engine.journal import Journal\n"
    "with Journal(Path(sys.argv[1])) as journal:\n"
    "    for at in range(15):\n"
    "        journal.add('row', '', {'by': sys.argv[2], 'at': at})\n"
)


def test_processes_that_add_at_once_make_one_chain(tmp_path):
    path = tmp_path / "j.sqlite"
    Journal(path).close()
    children = [subprocess.Popen([sys.executable, "-c", ADDING, str(path), name]) for name in "abc"]
    assert [child.wait() for child in children] == [0, 0, 0]
    with Journal(path) as journal:
        assert journal.verify().count == 45
        for name in "abc":
            own = [e.body["at"] for e in journal.entries() if e.body["by"] == name]
            assert own == list(range(15))


def test_entries_cut_off_at_the_end_are_missed_where_they_were_added(tmp_path):
    path = tmp_path / "j.sqlite"
    with Journal(path) as journal:
        for at in range(3):
            assert journal.add("row", "", {"at": at}) == at + 1
        assert journal.verify().count == 3
    with sqlite3.connect(path) as connection:
        connection.execute("delete from entries where id = 3")
    connection.close()
    with Journal(path) as journal, pytest.raises(DataError, match="3 entries were written and 2"):
        journal.verify()
    with Journal(path) as journal:  # nor does another row in its place hide it
        journal.append("row", "", {"at": 9})
        journal.commit()
        with pytest.raises(DataError, match="breaks at entry 3"):
            journal.verify()


def test_adding_goes_on_behind_another_journal_object_of_the_same_file(tmp_path):
    path = tmp_path / "j.sqlite"
    with Journal(path) as one, Journal(path) as other:
        one.add("row", "", {})
        other.add("row", "", {})
        assert one.add("row", "", {}) == 3
        assert other.verify() == one.verify()
        assert one.proof == one.verify()
