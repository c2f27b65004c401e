"""A rehearsal through the schedule and real HTTP is the backtest: a year of it, and every trouble."""

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from brokers.exchange.faults import Faults, Rule
from engine.bars import OPEN, VOLUME, Bars
from engine.cli import run
from engine.run.paper import against
from engine.run.paper.compare import life_of
from engine.run.rehearse.chaos import Chaos
from engine.run.rehearse.commands import FILE, HASTY, rehearse_into
from engine.run.rehearse.compare import Agreement, compare
from engine.run.rehearse.run import Play, Rehearsed, rehearse
from engine.settings import Settings
from tests.paper_account import COSTS, sample_bars, save_checkpoint

QUARTER, YEAR = 63, 252
REQUESTS = 23  # a session: three looks, bars, events and the calendar; two more for each order
BEGIN = date(2009, 12, 31)
WHAT = ("decisions", "orders", "fills", "fees", "memory", "observations", "equity")


@pytest.fixture(scope="module")
def bars() -> Bars:
    return sample_bars()


def play(bars: Bars, agent: Path, sessions: int, begin: Any = BEGIN, **tables: Any) -> Play:
    chosen = {"exchange": {"partial_fills": 0.0}, "data": {"source": "sample"}, **tables}
    settings = Settings.model_validate({"costs": COSTS, **chosen})
    first = bars.index_of(begin)
    return Play(settings, agent, bars, first, first + sessions - 1)


def require_equal(found: Rehearsed, agreement: Agreement, sessions: int) -> None:
    # Bit for bit, but for the cash at the exchange: it adds the costs up in another order.
    assert found.halted is None
    assert agreement.unexplained == agreement.missed == agreement.cuts == ()
    assert agreement.decided == sessions
    largest = {line.what: line.largest for line in agreement.lines}
    assert largest.pop("cash at the exchange") < 0.005
    assert largest == dict.fromkeys(WHAT, 0.0)
    assert agreement.holds


@pytest.mark.parametrize("sessions", [QUARTER, pytest.param(YEAR, marks=pytest.mark.very_slow)])
def test_long_paper_trading_equals_the_backtest_bit_for_bit(tmp_path, bars, agent, sessions):
    chosen = play(bars, agent, sessions)
    found = rehearse(chosen, tmp_path)
    agreement = compare(chosen, found)
    require_equal(found, agreement, sessions)
    assert agreement.fills > 2 * sessions
    compared = {line.what: line.compared for line in agreement.lines}
    assert compared["orders"] == 4 * sessions
    assert compared["equity"] == sessions
    assert compared["memory"] == 4 * sessions * 32
    orders = [sum(x != 0.0 for x in e.body["orders"]) for e in found.entries["decision"]]
    later = slice(1, None)  # the account is opened on the first
    assert (found.requests[later] <= REQUESTS + 2 * np.array(orders[later])).all()
    assert found.requests.mean() <= 30


def test_book_inputs_inside_the_network_agree_too(tmp_path, bars):
    own = save_checkpoint(tmp_path / "checkpoint", bars, book_input="lstm")
    chosen = play(bars, own, 12)
    found = rehearse(chosen, tmp_path / "run")
    require_equal(found, compare(chosen, found), 12)


def test_partial_fills_are_the_whole_difference(tmp_path, bars, agent):
    # The exchange counts what it did not fill; the backtest with just those shares cut is equal,
    # the backtest without is equal up to the first of them and not after it.
    chosen = play(bars, agent, 15, exchange={"partial_fills": 0.3})
    found = rehearse(chosen, tmp_path)
    agreement = compare(chosen, found)
    assert agreement.holds
    assert len(agreement.cuts) > 3
    paper = chosen.settings.paper.model_copy(update={"checkpoint": str(agent)})
    alone, _ = against.told(life_of(tmp_path), chosen.settings.model_copy(update={"paper": paper}))
    assert abs(agreement.cost_of_cuts) > 1.0
    assert agreement.cost_of_cuts == pytest.approx(alone["tracking"]["end"])  # by the journal alone
    for cut in agreement.cuts:
        assert abs(cut.kept) < abs(cut.ordered)
        assert cut.kept * cut.ordered > 0
    told = {(e.session, e.body["symbol"]): e.body["qty"] for e in found.entries["intent"]}
    assert all(told[str(cut.session), cut.symbol] == cut.ordered for cut in agreement.cuts)
    first = min(cut.session for cut in agreement.cuts)
    whole = compare(chosen, forgetful(found))
    assert not whole.holds
    different = {line.session for line in whole.lines if line.session}
    assert min(different) == str(chosen.sessions[chosen.sessions > first][0])


def forgetful(found: Rehearsed) -> Rehearsed:
    """Return a rehearsal whose exchange claims to have filled every order."""
    orders = [order | {"qty": order["filled_qty"]} for order in found.orders]
    return replace(found, orders=orders)


@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(seed, marks=pytest.mark.very_slow) for seed in (2, 3))]
)
def test_a_storm_of_faults_changes_nothing(tmp_path, bars, agent, seed):
    chosen = play(bars, agent, 15)
    found = rehearse(chosen, tmp_path, lambda clock: Chaos(seed, clock), HASTY)
    require_equal(found, compare(chosen, found), 15)
    assert sum(found.faults.values()) > 15
    assert len(found.faults) > 5


def test_an_outage_over_a_whole_window_costs_one_session_and_is_told(tmp_path, bars, agent):
    # From the evening of the third session to the next open nothing answers: its orders are not
    # sent, memory catches up, and the backtest without those orders is equal to the last bit.
    chosen = play(bars, agent, 8)
    third = str(chosen.sessions[2])
    result = rehearse_into(tmp_path, chosen, lambda clock: Down(third, clock))
    assert result["agrees"], result
    assert result["missed"] == [third]
    assert result["retries"] > 10
    assert json.loads((tmp_path / FILE).read_text())["missed"] == [third]
    assert third in (tmp_path / "notices.log").read_text()


class Down(Faults):
    """Nothing answers in the night after one session."""

    def __init__(self, session: str, clock: Any) -> None:
        super().__init__()
        self._session, self._clock = np.datetime64(session), clock

    def decide(self, method: str, path: str) -> Rule | None:
        now = np.datetime64(self._clock.now().replace(tzinfo=None), "h")
        night = self._session + np.timedelta64(20, "h"), self._session + np.timedelta64(39, "h")
        return Rule(action="status", status=503) if night[0] <= now < night[1] else None


def eventful(bars: Bars, row: int) -> Bars:
    """Return the sample with two splits, a reverse split and a missing bar from a row on."""
    ohlcv, traded = bars.ohlcv.copy(), bars.traded.copy()
    split = bars.split.copy()
    for column, at, ratio in ((0, row + 3, 2.0), (1, row + 5, 3.0), (2, row + 5, 0.1)):
        split[at, column] *= ratio
        ohlcv[at:, column, OPEN:VOLUME] /= ratio
        ohlcv[at:, column, VOLUME] *= ratio
    traded[row + 8, 3] = False
    ohlcv[row + 8, 3] = np.nan
    return replace(bars, ohlcv=ohlcv, traded=traded, split=split)


def test_splits_and_a_missing_bar_inside_the_range_agree(tmp_path, bars, agent):
    market = eventful(bars, bars.index_of(BEGIN))
    chosen = play(market, agent, 14)
    found = rehearse(chosen, tmp_path)
    agreement = compare(chosen, found)
    assert agreement.holds, agreement
    held = np.array([entry.body["book"]["qty"][0] for entry in found.entries["decision"]])
    assert (held[2, :3] > 0).any()  # something was split
    # Paper cancels an order that found no market at the open; the backtest lets it wait.
    gap = str(chosen.sessions[7])
    assert {(str(cut.session), cut.symbol, cut.kept) for cut in agreement.cuts} <= {
        (gap, bars.symbols[3], 0.0)
    }


def test_a_halted_rehearsal_says_why_and_fails(tmp_path, bars, agent):
    tables = {"paper": {"guards": {"max_orders": 1}}}
    chosen = play(bars, agent, 6, **tables)
    result = rehearse_into(tmp_path, chosen)
    assert result["exit_code"] == 1
    assert result["halted"].startswith("guards.max_orders: expected at most 1")
    assert result["decided"] < 6


def test_a_difference_is_found(tmp_path, bars, agent):
    # The exchange is dearer than the backtest believes: fills, cash and equity must say so.
    chosen = play(bars, agent, 5)
    found = rehearse(chosen, tmp_path)
    dearer = {**COSTS, "slippage_bps": 3.0}
    other = replace(chosen, settings=Settings.model_validate({"costs": dearer}))
    agreement = compare(other, found)
    assert not agreement.holds
    differ = {line.what for line in agreement.lines if line.differ}
    assert {"fills", "equity", "cash at the exchange"} <= differ


def test_command_plays_a_fault_script_and_leaves_a_run_folder(tmp_path, bars, agent, capsys):
    script = tmp_path / "faults.toml"
    script.write_text(
        '[[rule]]\naction = "accept_then_504"\nmethod = "POST"\nnth = 2\n'
        '[[rule]]\naction = "drop"\nmethod = "GET"\npath = "/v2/positions"\nnth = 3\ntimes = 2\n'
    )
    config = tmp_path / "own.toml"
    config.write_text(
        f'name = "own"\nruns_dir = "{tmp_path / "runs"}"\n[data]\nsource = "sample"\n'
        "[split]\ntest = { start = 2010-01-04 }\n[exchange]\npartial_fills = 0.0\n"
    )
    chosen = ("--checkpoint", str(agent), "--to", "2010-01-08", "--faults", str(script))
    assert run(["rehearse", str(config), *chosen]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("rehearsal: 5 of 5 sessions decided, 2010-01-04 to 2010-01-08")
    assert "  sessions missed: none" in told
    assert "  faults survived: 3 (accept_then_504 1, drop 2)" in told
    assert told[-1] == "the rehearsal agrees with the backtest"
    (folder,) = (tmp_path / "runs").glob("own-rehearsal-*")
    names = {"settings.json", "journal.sqlite", "paper.log", "notices.log", FILE}
    assert names <= {path.name for path in folder.iterdir()}
    assert json.loads((folder / FILE).read_text())["agrees"] is True


def test_wrong_words_are_refused(tmp_path, agent, capsys):
    given = ["rehearse", "demo", "--checkpoint", str(agent), "--set", "agent.burn_in=6"]
    for more, told in (
        (["--from", "soon"], "--from soon: expected a date"),
        (["--from", "2013-03-01"], "expected two sessions or more"),
        (["--from", "2000-03-01"], "expected two sessions or more, and one before them"),
        (["--chaos", "1", "--faults", "x.toml"], "--faults and --chaos: expected one of them"),
        (["--set", "venue.fill=same_close"], 'found "same_close"; set venue.fill = "open"'),
        (["--set", "venue.leverage=3"], "venue.leverage: the exchange grants 1, 2 or 4"),
        (["--checkpoint", str(tmp_path / "no")], "no such folder"),
    ):
        runs = ["--set", f"runs_dir={tmp_path}"]
        assert run([*given, *more, *runs]) in (1, 2)
        assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_dates_on_which_the_exchange_was_closed_are_refused(tmp_path, agent, capsys):
    days = np.arange("2020-01-01", "2020-03-01", dtype="datetime64[D]")
    rows = "".join(f"{day},1,1,1,1,9\n" for day in days)
    (tmp_path / "X.csv").write_text("date,open,high,low,close,volume\n" + rows)
    data = {
        "source": "csv",
        "path": str(tmp_path / "X.csv"),
        "calendar": "none",
        "price_basis": "raw",
    }
    sets = [part for key, value in data.items() for part in ("--set", f"data.{key}={value}")]
    given = ["rehearse", "demo", "--checkpoint", str(agent), "--from", "2020-02-01", *sets]
    assert run([*given, "--set", f"runs_dir={tmp_path / 'runs'}"]) == 2
    # February 2020: five Saturdays, four Sundays, Presidents' Day on the 17th
    assert "closed on 2020-02-01 (and 9 more of these dates)" in capsys.readouterr().err
