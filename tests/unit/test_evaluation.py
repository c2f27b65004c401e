"""One backtest into a run folder: what an interrupt leaves, and what the page must say of dates."""

from contextlib import nullcontext
from datetime import date
from pathlib import Path

import pytest

from engine.checkpoint import TrainedOn
from engine.errors import CheckpointError
from engine.report.cautions import cautions
from engine.report.folder import RunFolder
from engine.run import evaluation
from engine.run.build import bars_of
from engine.run.commands import run_backtest
from engine.run.evaluation import _require_basis
from engine.settings import build
from engine.sources import DataSettings, load
from engine.trader import Trader


def stopping_at(call: int):
    """Return a `Trader.commit` that is interrupted on its n-th call."""
    calls = []

    def commit(self, *args):
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt
        return true_commit(self, *args)

    true_commit = Trader.commit
    return commit


def backtest(tmp_path: Path):
    sets = (f"runs_dir={tmp_path}", "split.test={start=2012-01-03,end=2012-03-30}")
    return run_backtest("demo", None, sets, as_json=True)


def test_interrupted_backtest_leaves_a_readable_folder_of_the_bars_so_far(tmp_path, monkeypatch):
    monkeypatch.setattr(Trader, "commit", stopping_at(30))
    done = backtest(tmp_path)
    assert (done["exit_code"], done["bars"]) == (1, 29)
    run = RunFolder(Path(done["run"])).read()
    assert run.missing == ()
    assert len(run.equity["session"]) == 29
    assert set(run.equity) == {"session", "agent"}
    assert Path(done["page"]).is_file()
    first = cautions(run)[0]
    assert first.grave
    assert first.text == "The run was interrupted at 2012-02-13, before its end on 2012-03-30."


def test_interrupt_while_baselines_run_keeps_the_agent(tmp_path, monkeypatch):
    monkeypatch.setattr(Trader, "commit", stopping_at(70))  # the test dates have 62 sessions
    done = backtest(tmp_path)
    assert (done["exit_code"], done["bars"]) == (1, 62)
    run = RunFolder(Path(done["run"])).read()
    assert "before all baselines had run" in cautions(run)[0].text


def test_interrupt_before_the_first_bar_leaves_no_page(tmp_path, monkeypatch):
    monkeypatch.setattr(Trader, "commit", stopping_at(1))
    done = backtest(tmp_path)
    assert (done["exit_code"], done["bars"]) == (1, 0)
    assert "page" not in done


@pytest.mark.parametrize(
    ("end", "symbols", "source", "told"),
    [
        (date(2007, 12, 31), ("AAPL",), "sample", False),
        (date(2012, 1, 3), ("AAPL",), "sample", True),
        (date(2012, 12, 31), ("XYZ",), "sample", False),
        (date(2014, 12, 31), ("AAPL",), "synthetic: bootstrap", False),
    ],
)
def test_test_dates_the_agent_was_trained_on_are_told(monkeypatch, end, symbols, source, told):
    known = TrainedOn(
        digest="",
        source=source,
        price_basis="raw",
        symbols=symbols,
        start=date(2000, 3, 1),
        end=end,
    )
    record = type("Record", (), {"trained_on": known})
    monkeypatch.setattr(evaluation, "read", lambda folder: record)
    bars = bars_of(build({}, "here"))
    first = bars.index_of(date(2012, 1, 3))
    found = evaluation._dates_known(Path("unused"), bars, first)
    assert bool(found) is told
    assert evaluation._dates_known(None, bars, first) == []


def test_checkpoint_of_another_price_basis_is_refused_unless_prices_were_made_up():
    raw = load(DataSettings(source="sample"))
    known = {"digest": "", "symbols": (), "start": "2000-01-03", "end": "2001-01-03"}
    for source, basis, refused in (
        ("sample", "raw", False),
        ("csv", "total", True),
        ("synthetic bootstrap", "total", False),
    ):
        trained = TrainedOn.model_validate(known | {"source": source, "price_basis": basis})
        with pytest.raises(CheckpointError, match="same basis") if refused else nullcontext():
            _require_basis(trained, raw)
