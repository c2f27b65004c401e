"""The trial ledger: counted before the result, whatever happens to the run, and tamper-evident."""

import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from engine.errors import DataError
from engine.journal import Journal
from engine.trials import Ledger, Plan

DAYS = np.arange("2020-01-01", "2020-01-12", dtype="datetime64[D]")
EQUITY = 100.0 * np.cumprod([1, 1.01, 1.02, 0.95, 1.02, 1.01, 1, 1.03, 0.98, 1.01, 1.01])
PLAN = Plan(
    purpose="validate",
    data="d" * 64,
    settings="a" * 64,
    code="0.1.0",
    segments={"validation": ("2020-01-01", "2020-01-11")},
    seed=3,
    costs={"rate": 0.001},
    folder="run-1",
)


def fill(path, looks=2):
    """One trial with some looks, one without any."""
    with Ledger(path) as ledger:
        with ledger.trial(PLAN) as trial:
            for update in range(looks):
                series = path.parent / "run-1" / f"{update}.npy"
                trial.look(EQUITY, DAYS, 0.5 + update, series, update)
            trial.chosen = "c" * 64
        with ledger.trial(replace(PLAN, purpose="test", seed=None, data="e" * 64)):
            pass


def test_row_says_what_was_tried_and_what_came_out(tmp_path):
    fill(tmp_path / "trials.sqlite")
    with Ledger(tmp_path / "trials.sqlite") as ledger:
        first, second = ledger.trials()
        assert first.plan == PLAN
        assert (first.status, first.error, first.chosen) == ("done", "", "c" * 64)
        assert first.opened <= first.closed
        assert [(look.update, look.score) for look in first.looks] == [(0, 0.5), (1, 1.5)]
        moments = first.looks[0].moments
        assert moments.sharpe == pytest.approx(0.17248787, abs=5e-9)
        assert (moments.bars, moments.kurtosis) == (10, pytest.approx(4.02479339, abs=5e-9))
        assert second.looks == ()
        assert [trial.plan.purpose for trial in ledger.trials("ee")] == ["test"]


def test_row_is_there_before_the_work_and_stays_when_it_fails(tmp_path):
    with Ledger(tmp_path / "trials.sqlite") as ledger:
        with ledger.trial(PLAN):
            assert [trial.status for trial in ledger.trials()] == ["running"]
        with pytest.raises(ZeroDivisionError), ledger.trial(PLAN):
            raise ZeroDivisionError("no")
        with pytest.raises(KeyboardInterrupt), ledger.trial(PLAN):
            raise KeyboardInterrupt
        done, failed, aborted = ledger.trials()
        assert done.status == "done"
        assert (failed.status, failed.error) == ("failed", "ZeroDivisionError: no")
        assert aborted.status == "aborted"


def test_killed_run_leaves_an_aborted_row(tmp_path):
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from engine.trials import Ledger\n"
        "from tests.unit.test_trials import DAYS, EQUITY, PLAN\n"
        "folder = Path(sys.argv[1])\n"
        "with Ledger(folder / 'trials.sqlite').trial(PLAN) as trial:\n"
        "    trial.look(EQUITY, DAYS, 0.5, folder / 'a.npy', 1)\n"
        "    print('at work', flush=True)\n"
        "    time.sleep(600)\n"
    )
    root = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as child:
        assert child.stdout.readline() == "at work\n"
        with Ledger(tmp_path / "trials.sqlite") as ledger:
            assert [trial.status for trial in ledger.trials()] == ["running"]
        os.kill(child.pid, signal.SIGKILL)
    with Ledger(tmp_path / "trials.sqlite") as ledger:
        (trial,) = ledger.trials()
        assert (trial.status, trial.closed, trial.error) == ("aborted", "", "never closed")
        assert [look.score for look in trial.looks] == [0.5]


@pytest.mark.parametrize(
    "tampering",
    [
        "delete from entries where kind = 'looked' and id = 2",
        "delete from entries where id = (select max(id) from entries)",
        "update entries set body = replace(body, '0.5', '0.4') where id = 2",
        "update entries set kind = 'ignored' where kind = 'closed'",
    ],
)
def test_removed_or_edited_row_fails_verify(tmp_path, tampering):
    path = tmp_path / "trials.sqlite"
    fill(path)
    with Ledger(path) as ledger:
        assert ledger.verify().count == 6
    with sqlite3.connect(path) as connection:
        assert connection.execute(tampering).rowcount
    connection.close()
    with Ledger(path) as ledger, pytest.raises(DataError, match=r"removed or edited|were removed"):
        ledger.verify()


def test_series_of_a_look_comes_back_unless_it_was_changed_or_removed(tmp_path):
    fill(tmp_path / "trials.sqlite")
    with Ledger(tmp_path / "trials.sqlite") as ledger:
        one, two = ledger.trials()[0].looks
        np.testing.assert_allclose(ledger.series(one), EQUITY[1:] / EQUITY[:-1] - 1, rtol=1e-15)
        assert one.series == "run-1/0.npy"
        np.save(tmp_path / one.series, np.zeros(10))
        assert ledger.series(one) is None
        (tmp_path / two.series).unlink()
        assert ledger.series(two) is None


def test_score_of_an_account_that_never_moved_is_counted_without_moments(tmp_path):
    with Ledger(tmp_path / "trials.sqlite") as ledger:
        with ledger.trial(PLAN) as trial:
            trial.look(np.full(11, 100.0), DAYS, 0.0, tmp_path / "flat.npy")
            trial.look(np.zeros(11), DAYS, float("nan"), tmp_path / "ruined.npy")
        flat, ruined = ledger.trials()[0].looks
        assert flat.moments is None
        assert (ledger.series(flat) == 0).all()
        assert (ruined.score, ruined.series) == (None, None)


def test_ledgers_opened_at_once_are_one_file(tmp_path):
    path = tmp_path / "new" / "trials.sqlite"
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from engine.trials import Ledger\n"
        "from tests.unit.test_trials import PLAN\n"
        "with Ledger(Path(sys.argv[1])) as ledger, ledger.trial(PLAN):\n"
        "    pass\n"
    )
    root = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    command = [sys.executable, "-c", script, str(path)]
    children = [subprocess.Popen(command, cwd=root) for _ in range(2)]
    assert [child.wait() for child in children] == [0, 0]
    with Ledger(path) as ledger:
        assert ledger.verify().count == 4
        assert [trial.status for trial in ledger.trials()] == ["done"] * 2
    assert {item.name for item in path.parent.iterdir()} == {"trials.sqlite"}


def test_ledger_that_cannot_be_made_says_what_to_do(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="no run goes uncounted: set trials_path"):
        Ledger(tmp_path / "file" / "trials.sqlite")


def test_a_ledger_whose_pages_did_not_all_reach_its_file_is_not_made(tmp_path, monkeypatch):
    class Full(Journal):
        # What SQLite leaves behind where the disk is full at the close: a file with pages missing,
        # and the log that still holds them.
        def close(self):
            super().close()
            self.path.with_name(f"{self.path.name}-wal").write_bytes(b"pages")

    monkeypatch.setattr("engine.trials.Journal", Full)
    with pytest.raises(DataError, match=r"cannot be made: .*No space left"):
        Ledger(tmp_path / "trials.sqlite")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    with Ledger(tmp_path / "trials.sqlite") as ledger:
        assert ledger.verify().count == 0
