"""A rehearsal of a year: the paper loop through the loopback exchange, and one decision of it.

- "rehearsal": the schedule, the cycle, alpaca-py over HTTP and the exchange, in one process and
  virtual time, 252 sessions of the bundled sample (4 symbols), journal not waiting for the disk;
- "backtest": the same agent on the same sessions through Backtrader;
- "one decision": the look after a close with 30 symbols, from the lock to the orders accepted and
  journalled, a disk that is waited for included, less the time spent in the gateway.

The agent is small and untrained, its head centred so that it sends about three orders a day: what
it decides with is 3 % of the time. "CPU" is of the whole process, the server's thread included;
it is what to compare on a machine that does something else at the same time.
"""

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from engine.bars import Bars
from engine.run.rehearse.compare import compare
from engine.run.rehearse.run import Play, Rehearsed, rehearse
from engine.settings import Settings
from engine.sources import DataSettings, load
from tests.benchmarks.harness import Row
from tests.paper_account import COSTS, sample_bars, save_checkpoint, staged

BEGIN = np.datetime64("2009-12-31")
TEST_YEARS = np.datetime64("2010-01-04")


def measure(quick: bool) -> tuple[list[Row], list[str]]:
    """Return the rows; nothing is ever left out."""
    sessions, rounds, symbols = (4, 1, 3) if quick else (252, 3, 30)
    with TemporaryDirectory() as folder:
        agent = save_checkpoint(Path(folder) / "agent", sample_bars())
        found = _year(Path(folder), agent, sessions, rounds, quick)
        return found + _one_decision(Path(folder), agent, symbols, 3 * rounds), []


def _year(folder: Path, agent: Path, sessions: int, rounds: int, quick: bool) -> list[Row]:
    bars = sample_bars()
    tables = {"costs": COSTS, "exchange": {"partial_fills": 0.0}, "data": {"source": "sample"}}
    first = bars.index_of(BEGIN)
    play = Play(Settings.model_validate(tables), agent, bars, first, first + sessions - 1)
    runs, cpu = [], []
    for at in range(rounds):
        began = time.process_time()
        runs.append(rehearse(play, folder / f"run{at}"))
        cpu.append(time.process_time() - began)
    took = np.array([run.seconds for run in runs])
    simulated = np.array([_backtest(play, run) for run in runs])
    orders = len(runs[0].orders)
    market = f"{len(bars.symbols)} symbols x {sessions} sessions"
    rows = [
        Row(f"rehearsal, {market}, {orders:,} orders", took, "s", "about 60 s"),
        Row(f"rehearsal, {market}, CPU", np.array(cpu), "s"),
        Row(f"rehearsal, {market}, a session", took / sessions * 1e3, "ms"),
        Row(f"requests a session, {market}", np.array([run.requests.mean() for run in runs]), ""),
        Row(f"rehearsal / backtest, {market}", took / simulated),
    ]
    if not quick:  # too few samples there
        for name in runs[0].shares:
            share = np.array([run.shares[name] for run in runs]) * 100
            rows.append(Row(f"share of a rehearsal: {name}", share, "%"))
    return rows


def _backtest(play: Play, run: Rehearsed) -> float:
    began = time.perf_counter()
    if not compare(play, run).holds:
        raise AssertionError("a rehearsal differs from its backtest; its speed means nothing")
    return time.perf_counter() - began


def _one_decision(folder: Path, agent: Path, symbols: int, sessions: int) -> list[Row]:
    bars = _walks(symbols)
    first = bars.index_of(TEST_YEARS)
    took = []
    with staged(folder / "paper", agent, bars, start=TEST_YEARS.item()) as stage:
        gateway = Timed(stage.room.gateway)
        stage.room.gateway = gateway  # type: ignore[assignment]
        for session in bars.sessions[first : first + sessions + 1]:
            stage.open_plus(session.item())
            stage.look()
            stage.close_plus(session.item())
            gateway.seconds = 0.0
            began = time.perf_counter()
            result = stage.look()
            took.append(time.perf_counter() - began - gateway.seconds)
            assert result.session == session.item(), result
    what = f"one decision of paper trading, {symbols} symbols, without waiting for the network"
    return [Row(what, np.array(took[1:]), "s", "under 1 s")]


def _walks(symbols: int) -> Bars:
    made = {"kind": "gbm", "sessions": 2_600, "symbols": symbols, "seed": 1}
    return load(DataSettings.model_validate({"source": "synthetic", "synthetic": made}))


class Timed:
    """A gateway that adds up how long it is asked for."""

    def __init__(self, gateway: Any) -> None:
        self._gateway = gateway
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        asked = getattr(self._gateway, name)
        if not callable(asked):
            return asked

        def timed(*given: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                return asked(*given, **named)
            finally:
                self.seconds += time.perf_counter() - began

        return timed
