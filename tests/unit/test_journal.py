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
        assert journal.verify() == 2
        journal.append("fill", "2010-01-06", {})
        journal.commit()
        assert journal.verify() == 3


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


def test_journal_of_another_format_is_refused(tmp_path):
    path = tmp_path / "j.sqlite"
    Journal(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("update meta set value = '99' where key = 'format'")
    with pytest.raises(DataError, match="format 1 expected, found 99"):
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
        assert journal.verify() >= told[-1] + 1
        assert [entry.body["at"] for entry in journal.entries()][:25] == told[:25]
